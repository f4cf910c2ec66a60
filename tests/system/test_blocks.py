"""Who is connected, and blocks: they wait without losing anything, they outlive a restart, they end by themselves."""
import datetime
import json
import time

import harness
import pytest
import raw

NOT_READY = 6  # ServerError: ServiceNotReady


@pytest.fixture
def block(shared):
    """block(kind, name, **fields): added; all are removed at the end."""
    ids = []

    def add(kind, name, **fields):
        b = shared.ok("POST", "/blocks", {"kind": kind, "name": name, **fields})
        ids.append(b["id"])
        return b

    yield add
    for i in ids:
        shared.rest("DELETE", f"/blocks/{i}")


def remove(shared, b):
    shared.ok("DELETE", f"/blocks/{b['id']}")


def publisher(broker, topic):
    return harness.wait_for(lambda: broker.stats(topic)["publishers"], what="a producer")[0]


def receipts(c, count, seconds=10):
    return [c.expect(raw.SEND_RECEIPT, seconds)[2][0] for _ in range(count)]


def no_receipt(c, seconds=0.4):
    with pytest.raises(TimeoutError):
        c.expect(raw.SEND_RECEIPT, seconds)


def messages(c, count, seconds=10):
    """Bodies of the next messages."""
    got = []
    while len(got) < count:
        number, _, rest = c.read(seconds)
        if number == raw.MESSAGE:
            got.append(rest[-1:])
    return got


# ---- clients ----

def test_a_client_is_listed_with_what_it_has_on_all_workers(make_broker):
    b = make_broker("--workers", "4")
    with raw.Connection(b) as one, raw.Connection(b) as two:
        for i in range(8):  # of both, so that some topics live on the other's worker
            (one if i % 2 else two).create_producer(f"t{i}", producer_id=100 + i)
        for i in range(8):
            one.create_producer(f"t{i}", producer_id=i, name=f"p{i}")
        one.write(raw.subscribe("t0"))
        one.expect(raw.SUCCESS)
        rows = b.ok("GET", "/clients")
        assert len(rows) == 2
        row = next(r for r in rows if r["consumers"])
        assert row["address"] == "127.0.0.1:%d" % one.socket.getsockname()[1]
        assert (row["producers"], row["consumers"], row["clientVersion"], row["role"]) == (12, 1, "raw-test", "")
        assert row["protocolVersion"] == 21
        assert {f"p{i}" for i in range(8)} <= {p["name"] for p in row["producerList"]}
        assert row["consumerList"][0]["subscription"] == "sub"
        lines = b.cli("clients", "list").stdout.splitlines()
        assert len(lines) == 3 and lines[0].startswith("ID") and "raw-test" in lines[1]
        assert json.loads(b.cli("clients", "list", "--output", "json").stdout)[0]["id"] == rows[0]["id"]
    harness.wait_for(lambda: b.ok("GET", "/clients") == [], what="an empty list")


def test_a_clients_rates_are_its_producers_and_consumers(shared, topic):
    with raw.Connection(shared) as c:
        c.create_producer(topic)
        c.write(raw.subscribe(topic))
        c.expect(raw.SUCCESS)
        c.write(raw.flow(1000))
        c.write(b"".join(raw.send(i, b"x" * 100) for i in range(200)))
        receipts_and_messages = [c.read()[0] for _ in range(400)]
        assert receipts_and_messages.count(raw.MESSAGE) == 200
        row = next(r for r in shared.ok("GET", "/clients") if r["producers"])
        assert row["msgRateIn"] > 0 and row["msgThroughputIn"] > 100 * row["msgRateIn"] * 0.9
        assert row["msgRateOut"] > 0


# ---- blocking producers ----

@pytest.mark.parametrize("kind", ["producer", "topic", "namespace", "tenant", "address", "range"])
def test_a_blocked_producer_waits_and_goes_on_in_order(shared, block, topic, kind):
    t = f"t-{kind}"
    shared.ok("PUT", f"/tenants/{t}", {"adminRoles": [], "allowedClusters": ["standalone"]})
    shared.ok("PUT", f"/namespaces/{t}/n")
    topic = f"persistent://{t}/n/x"
    names = {"producer": f"p-{kind}", "topic": topic, "namespace": f"{t}/n", "tenant": t, "address": "127.0.0.1",
             "range": "127.0.0.0/8"}
    with raw.Connection(shared) as c:
        c.create_producer(topic, name=f"p-{kind}")
        c.write(raw.send(0))
        receipts(c, 1)
        b = block({"range": "address"}.get(kind, kind), names[kind])
        c.write(b"".join(raw.send(i) for i in range(1, 50)))
        no_receipt(c)
        p = publisher(shared, topic)
        assert (p["throttledReason"], p["parkedMessages"], p["throttled"]) == ("blocked", 49, True)
        remove(shared, b)
        assert receipts(c, 49) == list(range(1, 50))
        c.write(raw.send(50))
        assert receipts(c, 1) == [50]
        assert shared.stats(topic)["msgInCounter"] == 51
        assert publisher(shared, topic)["throttled"] is False


def test_a_block_takes_a_producer_out_of_the_line_it_stands_in(shared, block, topic):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=20)
    with raw.Connection(shared) as c, raw.Connection(shared) as other:
        c.create_producer(topic, name="one")
        other.create_producer(topic, name="two")
        c.write(b"".join(raw.send(i) for i in range(60)))
        first = receipts(c, 3)
        b = block("producer", "one")
        count = shared.stats(topic)["msgInCounter"]
        other.write(raw.send(0))  # the line is free for others
        receipts(other, 1)
        time.sleep(0.3)
        assert shared.stats(topic)["msgInCounter"] == count + 1
        shared.set_rate(topic)  # removing the limit lifts no block
        time.sleep(0.1)
        assert shared.stats(topic)["msgInCounter"] == count + 1
        remove(shared, b)
        assert first + receipts(c, 57) == list(range(60))


def test_new_producers_and_topics_are_blocked_too(shared, block):
    shared.ok("PUT", "/namespaces/public/fresh")
    b = block("namespace", "public/fresh")
    with raw.Connection(shared) as c:
        c.create_producer("persistent://public/fresh/new")
        c.write(raw.send(0))
        no_receipt(c)
        remove(shared, b)
        assert receipts(c, 1) == [0]


def test_a_blocked_partitioned_topic_blocks_its_partitions(shared, block, topic):
    shared.ok("PUT", f"/{harness.rest_path(topic)}/partitions", 2)
    b = block("topic", topic)
    with raw.Connection(shared) as c:
        c.create_producer(topic + "-partition-1")
        c.write(raw.send(0))
        no_receipt(c)
        remove(shared, b)
        assert receipts(c, 1) == [0]


def test_a_blocked_producer_may_close_and_its_topic_be_deleted(shared, block, topic):
    with raw.Connection(shared) as c:
        c.create_producer(topic, 1)
        c.create_producer(topic, 2)
        b = block("topic", topic)
        c.write(raw.send(0, producer_id=1) + raw.send(0, producer_id=2))
        c.write(raw.frame(raw.CLOSE_PRODUCER, {1: 1, 2: 77}))
        assert c.expect(raw.SUCCESS)[1] == [77]
        shared.ok("DELETE", f"/{harness.rest_path(topic)}?force=true")
        assert c.expect(raw.CLOSE_PRODUCER)[1] == [2]
        assert c.is_open()
        remove(shared, b)


def test_much_from_a_blocked_producer_pauses_its_connection_until_the_block_ends(shared, block, topic):
    with raw.Connection(shared) as c:
        c.create_producer(topic)
        b = block("topic", topic)
        body = b"x" * 100_000
        c.write(b"".join(raw.send(i, body) for i in range(14)))
        harness.wait_for(lambda: publisher(shared, topic)["throttleStep"] == "pause", what="the pause")
        assert next(r for r in shared.ok("GET", "/clients") if r["throttledProducers"])["paused"]
        remove(shared, b)
        assert receipts(c, 14) == list(range(14))


# ---- consumers, addresses, sending away ----

def test_a_blocked_consumer_is_given_nothing_and_goes_on(shared, block, topic):
    with raw.Connection(shared) as c, raw.Connection(shared) as sender:
        c.write(raw.subscribe(topic))
        c.expect(raw.SUCCESS)
        c.write(raw.flow(100))
        sender.create_producer(topic)
        b = block("topic", topic)
        remove(shared, b)
        b = block("address", "127.0.0.1")
        remove(shared, b)
        sender.write(raw.send(0, b"0"))
        assert messages(c, 1) == [b"0"]
        shared.ok("POST", f"/{harness.rest_path(topic)}/subscription/sub/skip_all")
        b = block("topic", topic)
        sender.write(raw.send(1, b"1"))  # waits as well
        with pytest.raises(TimeoutError):
            c.read(0.3)
        remove(shared, b)
        assert messages(c, 1) == [b"1"]


def test_only_the_blocked_consumer_of_a_shared_subscription_stands_still(make_broker):
    """By address there is only one: two consumers, on an address that is blocked and one that is not."""
    b = make_broker("--bind", "::", env={})
    import socket
    with raw.Connection(b) as four:
        six = raw.Connection.__new__(raw.Connection)
        six.socket, six.buffer = socket.create_connection(("::1", b.port), timeout=10), b""
        six.write(raw.connect())
        six.expect(raw.CONNECTED)
        for c in (four, six):
            c.write(raw.subscribe("t", consumer_id=1))
            c.expect(raw.SUCCESS)
            c.write(raw.flow(100))
        block = b.ok("POST", "/blocks", {"kind": "address", "name": "::1"})
        four.create_producer("t", 1)
        four.write(b"".join(raw.send(i, b"%d" % i) for i in range(8)))
        got = [four.read() for _ in range(16)]
        assert sorted(rest[-1:] for n, _, rest in got if n == raw.MESSAGE) == [b"%d" % i for i in range(8)]
        b.ok("DELETE", f"/blocks/{block['id']}")
        four.write(b"".join(raw.send(i, b"%d" % i) for i in range(8, 48)))
        assert six.read()[0] == raw.MESSAGE
        six.close()


def test_a_blocked_address_is_refused_and_let_in_again(shared, block):
    with raw.Connection(shared) as there:
        b = block("address", "127.0.0.1")
        with pytest.raises(raw.Closed):
            raw.Connection(shared)
        assert there.is_open()
        remove(shared, b)
        raw.Connection(shared).close()
        b = block("address", "127.0.0.1", disconnect=True)
        assert not there.is_open()
        remove(shared, b)


def test_with_disconnect_they_are_sent_away_and_refused_until_it_ends(shared, block, topic):
    with raw.Connection(shared) as c:
        c.create_producer(topic)
        c.write(raw.subscribe(topic))
        c.expect(raw.SUCCESS)
        b = block("topic", topic, disconnect=True, note="out")
        assert {c.read()[0], c.read()[0]} == {raw.CLOSE_PRODUCER, raw.CLOSE_CONSUMER}
        c.write(raw.producer(topic, 2, 5))
        assert c.expect(raw.ERROR)[2] == [NOT_READY]
        c.write(raw.subscribe(topic, consumer_id=2, request_id=6))
        assert c.expect(raw.ERROR)[2] == [NOT_READY]
        remove(shared, b)
        c.create_producer(topic, 3)
        assert c.is_open()


# ---- the blocks themselves ----

def test_a_block_ends_by_itself(shared, block, topic):
    with raw.Connection(shared) as c:
        c.create_producer(topic)
        b = block("topic", topic, durationMs=800)
        c.write(raw.send(0))
        no_receipt(c, 0.3)
        assert receipts(c, 1, 10) == [0]
        harness.wait_for(lambda: b["id"] not in [x["id"] for x in shared.ok("GET", "/blocks")], what="its end")


def test_an_end_that_can_not_be_stored_is_tried_again_after_seconds_not_at_once(make_broker, tmp_path):
    full = tmp_path / "full"
    b = make_broker(env={"FAULT_DIR": "/meta.db", "FAULT_FULL_WHILE": str(full)}, preload=harness.FAULT_SHIM)
    b.ok("POST", "/blocks", {"kind": "producer", "name": "short", "durationMs": 300})
    full.touch()
    harness.wait_for(lambda: "could not be removed" in b.log(), what="the first try")
    time.sleep(1)
    assert b.log().count("could not be removed") == 1
    full.unlink()
    b.ok("POST", "/blocks", {"kind": "producer", "name": "other"})  # a change looks at all of them again
    harness.wait_for(lambda: [x["name"] for x in b.ok("GET", "/blocks")] == ["other"], what="the end")


@pytest.mark.parametrize("crash", [False, True])
def test_blocks_outlive_a_restart(make_broker, crash):
    b = make_broker()
    soon = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = [b.ok("POST", "/blocks", {"kind": "topic", "name": "t", "note": "why", "until": soon}),
            b.ok("POST", "/blocks", {"kind": "producer", "name": "short", "durationMs": 1}),
            b.ok("POST", "/blocks", {"kind": "address", "name": "10.0.0.0/8", "disconnect": True})]
    b.restart(crash=crash)
    left = harness.wait_for(lambda: (x := b.ok("GET", "/blocks")) and len(x) == 2 and x, what="the short one's end")
    assert left == [made[0], made[2]]
    assert left[0]["name"] == "persistent://public/default/t" and left[0]["by"].startswith("127.0.0.1:")
    with raw.Connection(b) as c:
        c.create_producer("t")
        c.write(raw.send(0))
        no_receipt(c)
        b.ok("DELETE", f"/blocks/{left[0]['id']}")
        assert receipts(c, 1) == [0]


def test_a_blocks_id_is_not_given_again(make_broker):
    """What events and explain said of it must not be read as another's."""
    b = make_broker()
    ids = [b.ok("POST", "/blocks", {"kind": "producer", "name": f"p{i}"})["id"] for i in range(3)]
    b.ok("DELETE", f"/blocks/{ids[2]}")
    b.restart(crash=True)
    assert [x["id"] for x in b.ok("GET", "/blocks")] == ids[:2]
    assert b.ok("POST", "/blocks", {"kind": "producer", "name": "other"})["id"] == ids[2] + 1


def test_a_range_in_other_words_is_the_same_block(shared, block):
    a = block("address", "10.1.2.3/8")
    assert a["name"] == "10.0.0.0/8"
    assert block("address", "10.9.9.9/8", note="again")["id"] == a["id"]
    shared.cli("block", "remove", "--address", "10.4.4.4/8")


def test_a_block_of_very_many_producers_holds_for_all_and_goes_from_all(shared, block, topic):
    with raw.Connection(shared) as c:
        for i in range(1500):
            c.write(raw.producer(topic, i, i))
        for _ in range(1500):
            c.expect(raw.PRODUCER_SUCCESS)
        b = block("topic", topic)
        c.write(b"".join(raw.send(0, producer_id=i) for i in range(1500)))
        no_receipt(c)
        row = next(r for r in shared.ok("GET", "/clients") if r["producers"] == 1500)
        assert row["throttledProducers"] == 1500 and len(row["producerList"]) == 1000
        remove(shared, b)
        for _ in range(1500):
            c.expect(raw.SEND_RECEIPT)


def test_one_block_of_a_kind_and_name(shared, block, topic):
    a = block("topic", topic)
    b = block("topic", topic, note="again", durationMs=3600_000)
    assert a["id"] == b["id"] and a["until"] is None and b["until"]
    assert [x["note"] for x in shared.ok("GET", "/blocks") if x["name"] == topic] == ["again"]
    assert shared.ok("GET", f"/blocks/{a['id']}") == b


@pytest.mark.parametrize("body, status", [
    ({"kind": "planet", "name": "x"}, 400),
    ({"kind": "topic"}, 400),
    ({"kind": "namespace", "name": "one"}, 400),
    ({"kind": "address", "name": "300.1.1.1"}, 400),
    ({"kind": "address", "name": "10.0.0.0/33"}, 400),
    ({"kind": "topic", "name": "x", "until": "tomorrow"}, 400),
    ({"kind": "topic", "name": "x", "until": "2020-01-01T00:00:00Z"}, 412),
    ({"kind": "topic", "name": "x", "durationMs": 0}, 400),
    ({"kind": "topic", "name": "x", "note": "n" * 2000}, 412),
    ({"kind": "topic", "name": "x", "disconect": True}, 400),
    ([], 400),
])
def test_a_block_that_makes_no_sense_is_refused(shared, body, status):
    assert shared.rest("POST", "/blocks", body).status == status
    assert shared.rest("GET", "/blocks/99999").status == shared.rest("DELETE", "/blocks/99999").status == 404


def test_blocks_on_the_command_line(shared, topic):
    made = json.loads(shared.cli("block", "add", "--topic", topic, "--for", "3600", "--note", "too much").stdout)
    lines = shared.cli("block", "list").stdout.splitlines()
    assert lines[0].split()[:3] == ["ID", "KIND", "NAME"]
    assert any(topic in line and line.endswith("too much") for line in lines)
    shared.cli("block", "remove", "--topic", topic.split("/")[-1])
    assert shared.cli("block", "remove", str(made["id"]), check=False).returncode == 4
    assert shared.cli("block", "remove", "--topic", topic, check=False).returncode == 4
    assert shared.cli("block", "add", check=False).returncode == 2
    assert shared.cli("block", "add", "--topic", "a", "--role", "b", check=False).returncode == 2


def test_many_blocks_are_listed_in_the_order_of_their_ids(make_broker):
    """Some a turn; also after a restart, and where one was replaced."""
    b = make_broker()
    ids = [b.ok("POST", "/blocks", {"kind": "topic", "name": f"persistent://public/default/t{i}"})["id"] for i in range(250)]
    again = b.ok("POST", "/blocks", {"kind": "topic", "name": "persistent://public/default/t7", "note": "again"})
    assert again["id"] == ids[7]
    b.ok("DELETE", f"/blocks/{ids[120]}")
    expected = [i for i in ids if i != ids[120]]
    assert [x["id"] for x in b.ok("GET", "/blocks")] == expected
    b.restart()
    assert [x["id"] for x in b.ok("GET", "/blocks")] == expected
