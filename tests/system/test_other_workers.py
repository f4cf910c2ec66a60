"""Topics that live on another worker than the connection, or are deleted and made anew while others work on them."""
import contextlib
import socket
import threading
import time

import harness
import pytest
import raw

NOT_ALLOWED, BUSY = 22, 5  # ServerError: NotAllowedError, ConsumerBusy


def slow_broker(make_broker, sync_ms, *options, **keywords):
    return make_broker(*options, env={"FAULT_DIR": "/data", "FAULT_SYNC_DELAY_MS": str(sync_ms)},
                       preload=harness.FAULT_SHIM, **keywords)


@contextlib.contextmanager
def connections_apart(broker):
    """Two connections on different workers: each new one goes to the worker with the fewest."""
    with raw.Connection(broker) as a, raw.Connection(broker) as b:
        yield a, b


def topic_of(name, ns="public/default"):
    return f"persistent://{ns}/{name}"


# ---- what a connection may have ----

def test_producers_elsewhere_are_not_counted_as_consumers(make_broker):
    b = make_broker("--workers", "2", config={"tidegateMaxProducersPerConnection": 3,
                                              "tidegateMaxConsumersPerConnection": 3})
    with connections_apart(b) as (here, there):
        for i in range(3):
            there.create_producer(topic_of(f"t{i}"), producer_id=i)
        for i in range(3):
            here.create_producer(topic_of(f"t{i}"), producer_id=i)
        for i in range(3):
            here.write(raw.subscribe(topic_of(f"t{i}"), consumer_id=i, request_id=i))
            here.expect(raw.SUCCESS)
        here.write(raw.subscribe(topic_of("t0"), "other", consumer_id=9, request_id=9))
        assert here.expect(raw.ERROR)[2] == [NOT_ALLOWED]
        here.write(raw.producer(topic_of("t0"), 9, 9))
        assert here.expect(raw.ERROR)[2] == [NOT_ALLOWED]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_refused_takes_no_place_on_its_connection(make_broker, workers):
    """As of a stand-by that tries again for hours until its Exclusive subscription is free."""
    b = make_broker("--workers", str(workers), config={"tidegateMaxProducersPerConnection": 5,
                                                       "tidegateMaxConsumersPerConnection": 5})
    with connections_apart(b) as (here, there):
        there.create_producer(topic_of("t"), name="only-one")
        there.write(raw.subscribe(topic_of("t"), sub_type=0))
        there.expect(raw.SUCCESS)
        for i in range(20):
            here.write(raw.subscribe(topic_of("t"), consumer_id=i, request_id=i, sub_type=0))
            assert here.expect(raw.ERROR)[2] == [BUSY]
            here.write(raw.producer(topic_of("t"), i, i, name="only-one"))
            assert here.expect(raw.ERROR)[2] != [NOT_ALLOWED]
        here.write(raw.subscribe(topic_of("t"), "another", consumer_id=99, request_id=99))
        here.expect(raw.SUCCESS)
        here.create_producer(topic_of("t"), producer_id=99, name="another")
        here.write(raw.send(0, producer_id=99) + raw.flow(1, 99))
        assert {here.read()[0], here.read()[0]} == {raw.SEND_RECEIPT, raw.MESSAGE}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_the_broker_closed_takes_no_place_on_its_connection(make_broker, workers):
    b = make_broker("--workers", str(workers), config={"tidegateMaxProducersPerConnection": 5,
                                                       "tidegateMaxConsumersPerConnection": 5})
    with connections_apart(b) as (here, there):
        for i in range(20):
            name = topic_of(f"t{i}")
            there.create_producer(name, producer_id=i)
            here.create_producer(name, producer_id=i)
            here.write(raw.subscribe(name, consumer_id=i, request_id=i))
            here.expect(raw.SUCCESS)
            b.ok("DELETE", f"/{harness.rest_path(name)}?force=true")
            there.expect(raw.CLOSE_PRODUCER)
            assert {here.read()[0], here.read()[0]} == {raw.CLOSE_PRODUCER, raw.CLOSE_CONSUMER}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_id_that_is_opened_again_at_once_works(make_broker, workers):
    """The word that the old one is gone may cross the command that opens the new one."""
    b = make_broker("--workers", str(workers))
    with connections_apart(b) as (here, there):
        there.create_producer(topic_of("t"), name="taken")
        for i in range(200):
            here.write(raw.producer(topic_of("t"), 1, 1, name="taken"))
            time.sleep(i * 2e-6)
            here.write(raw.producer(topic_of("t"), 1, 2, name="mine"))
            got = [here.read(), here.read()]
            if raw.PRODUCER_SUCCESS not in (got[0][0], got[1][0]):  # it came while the first was being opened
                here.create_producer(topic_of("t"), 1, name="mine")
            here.write(raw.send(2 * i))
            here.expect(raw.SEND_RECEIPT)
            here.write(raw.frame(raw.CLOSE_PRODUCER, {1: 1, 2: 6}) + raw.producer(topic_of("t"), 1, 7, name="mine"))
            here.expect(raw.SUCCESS)
            here.expect(raw.PRODUCER_SUCCESS)
            here.write(raw.send(2 * i + 1))
            here.expect(raw.SEND_RECEIPT)
            here.write(raw.frame(raw.CLOSE_PRODUCER, {1: 1, 2: 6}))
            here.expect(raw.SUCCESS)


# ---- deleted ----

def test_namespace_and_tenant_can_go_right_after_their_last_topic_also_one_that_is_in_use(make_broker):
    b = slow_broker(make_broker, 30)
    name = topic_of("t", "acme/east")
    for _ in range(10):
        b.ok("PUT", "/tenants/acme", {"adminRoles": [], "allowedClusters": ["standalone"]})
        b.ok("PUT", "/namespaces/acme/east")
        b.ok("POST", "/namespaces/acme/east/publishQuota", {"publishThrottlingRateInMsg": 60})
        with connections_apart(b) as (here, there):
            for c in (here, there):
                c.create_producer(name)
                c.write(b"".join(raw.send(n) for n in range(50)))
            b.ok("DELETE", f"/{harness.rest_path(name)}?force=true")
            b.ok("DELETE", "/namespaces/acme/east")
            b.ok("DELETE", "/tenants/acme")
    assert "acme" not in b.ok("GET", "/tenants")


def test_a_topic_that_is_made_anew_at_once_starts_empty(make_broker):
    """While what was in flight of the old one is being written."""
    b = slow_broker(make_broker, 30)
    name = topic_of("t")
    for _ in range(10):
        with connections_apart(b) as (here, there):
            for c in (here, there):
                c.create_producer(name)
                c.write(raw.subscribe(name, earliest=True) + b"".join(raw.send(n) for n in range(50)))
            b.ok("DELETE", f"/{harness.rest_path(name)}?force=true")
            b.ok("PUT", f"/{harness.rest_path(name)}")
            assert b.stats(name)["msgInCounter"] == 0
            assert b.ok("GET", f"/{harness.rest_path(name)}/subscriptions") == []
        with raw.Connection(b) as c:
            c.create_producer(name)
            c.write(raw.send(7))
            assert raw.decode(c.expect(raw.SEND_RECEIPT)[3][0])[2] == [0]  # the first entry of its ledger
    b.restart()
    assert b.ok("GET", f"/{harness.rest_path(name)}/subscriptions") == []
    assert b.ok("GET", f"/{harness.rest_path(name)}/lastMessageId")["entryId"] == 0


def wait_for_a_topic_to_end(broker, here, there, name):
    """Messages are in flight, so it can't; PRODUCER, SUBSCRIBE and PUT wait to make it anew."""
    for c in (here, there):
        c.create_producer(name)
    for c in (here, there):
        c.write(b"".join(raw.send(n) for n in range(50)))
    harness.wait_for(lambda: broker.stats(name)["msgInCounter"] > 0 or broker.stats(name)["throttled"],
                     what="messages in flight")
    broker.ok("DELETE", f"/{harness.rest_path(name)}?force=true")
    s = socket.create_connection((broker.host, broker.web_port))
    s.sendall(f"PUT /admin/v2/{harness.rest_path(name)} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    for c in (here, there):
        c.write(raw.producer(name, 2, 2) + raw.subscribe(name))
    return s


def test_who_waits_to_make_a_topic_anew_gets_it_before_the_broker_stops(make_broker):
    b = slow_broker(make_broker, 300)
    with connections_apart(b) as (here, there):
        with wait_for_a_topic_to_end(b, here, there, topic_of("t")) as s:
            assert b.stop() == 0
            assert s.recv(100).split()[1] in (b"204", b"409", b"503")


def test_who_waits_to_make_a_topic_anew_is_told_when_the_broker_stops(make_broker, tmp_path):
    """The log's disk is full: what is in flight will never be written, and the stop does not wait for ever."""
    full = tmp_path / "full"
    b = make_broker(env={"FAULT_DIR": "/data/log/", "FAULT_FULL_WHILE": str(full)}, preload=harness.FAULT_SHIM)
    with connections_apart(b) as (here, there):
        full.touch()
        with wait_for_a_topic_to_end(b, here, there, topic_of("t")) as s:
            assert b.stop() == 0
            assert s.recv(100).split()[1] == b"503"


def test_skipping_does_not_bring_a_deleted_subscription_back(make_broker):
    b = slow_broker(make_broker, 100)
    b.ok("PUT", "/persistent/public/default/t")
    path = "/persistent/public/default/t/subscription/s"
    b.ok("PUT", path)
    answers = []
    threads = [threading.Thread(target=lambda how=how: answers.append(b.rest(*how).status))
               for how in (("DELETE", path), ("POST", path + "/skip_all"))]
    for t in threads:
        t.start()
        t.join(0.03)
    for t in threads:
        t.join()
    assert 204 in answers
    b.restart()
    assert b.ok("GET", "/persistent/public/default/t/subscriptions") == []


def test_policies_that_change_while_topics_are_deleted(make_broker):
    """On workers that have ended the topic already, too."""
    b = make_broker("--workers", "3")
    rate = {"publishThrottlingRateInMsg": 1000000}
    stopping = threading.Event()

    def change():
        n = 0
        while not stopping.is_set():
            n += 1
            rate["publishThrottlingRateInMsg"] = 1000000 + n
            b.ok("POST", "/namespaces/public/default/publishRate", rate)
            b.ok("POST", f"/brokers/configuration/maxPublishRatePerTopicInMessages/{1000000 + n}")

    changing = threading.Thread(target=change)
    changing.start()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(raw.Connection(b)) for _ in range(6)]
        for round_ in range(15):
            names = [topic_of(f"t{round_}-{i}") for i in range(30)]
            for i, name in enumerate(names):
                connections[i % 6].create_producer(name, producer_id=round_ * 30 + i)
            for name in names:
                b.ok("DELETE", f"/{harness.rest_path(name)}?force=true")
            for i in range(30):
                connections[i % 6].expect(raw.CLOSE_PRODUCER)
    stopping.set()
    changing.join()
