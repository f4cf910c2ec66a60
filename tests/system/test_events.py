"""Events: what they tell, that they are bounded, numbered over restarts, written, and followed on the command line."""
import json
import subprocess
import time

import harness
import raw


def events(broker, kind=None, since=0):
    got = broker.ok("GET", f"/events?since={since}")["events"]
    return [e for e in got if kind in (None, e["event"])]


def find(broker, kind, seconds=10, **facts):
    def look():
        for e in events(broker, kind):
            if all(e.get(k) == v for k, v in facts.items()):
                return e
    return harness.wait_for(look, seconds, f"event {kind} {facts}")


def test_throttling_begins_and_ends(shared, topic):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=20)
    with raw.Connection(shared) as c:
        c.create_producer(topic, name="greedy")
        c.write(b"".join(raw.send(i) for i in range(10)))
        for _ in range(10):
            c.expect(raw.SEND_RECEIPT)
        e = find(shared, "throttling-begins", topic=topic)
        assert (e["producer"], e["reason"], e["scope"], e["tenant"]) == ("greedy", "topic", topic, "public")
        assert e["limit"]["rateInMsg"] == 20 and e["client"].startswith("127.0.0.1:")
        assert find(shared, "throttling-ends", topic=topic)["lastedMs"] >= 50


def test_a_limit_that_is_changed_by_whom_from_and_to(shared, topic):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=100)
    shared.set_rate(topic, messages=200)
    shared.ok("DELETE", f"/{harness.rest_path(topic)}/publishRate")
    got = [e for e in events(shared, "limit-changed") if e["name"] == topic]
    rates = [[e[k] and e[k]["publishThrottlingRateInMsg"] for k in ("from", "to")] for e in got]
    assert rates == [[None, 100], [100, 200], [200, None]]
    assert all(e["by"].startswith("127.0.0.1:") and e["policy"] == "publishRate" for e in got)
    shared.ok("PUT", "/namespaces/public/ev")
    for what, path in (("publishRate", "namespaces/public/ev/publishRate"),
                       ("publishQuota", "namespaces/public/ev/publishQuota"),
                       ("publishQuota", "tenants/pulsar/publishQuota")):
        shared.ok("POST", "/" + path, {"publishThrottlingRateInMsg": 5, "publishThrottlingRateInByte": -1})
        name = "pulsar" if "tenants" in path else "public/ev"
        assert find(shared, "limit-changed", name=name, policy=what)["to"]["publishThrottlingRateInMsg"] == 5
        shared.ok("DELETE", "/" + path)
    shared.cli("brokers", "update-dynamic-config", "--config", "maxPublishRatePerTopicInBytes", "--value", "77")
    assert find(shared, "limit-changed", name="maxPublishRatePerTopicInBytes", to="77")["kind"] == "setting"
    shared.cli("brokers", "delete-dynamic-config", "--config", "maxPublishRatePerTopicInBytes")


def test_a_dry_run_and_a_weight_are_changes_of_a_limit(shared, topic):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=100)
    shared.set_rate(topic, messages=100)  # the same: nothing to tell
    shared.set_rate(topic, messages=100, enforce=False)
    shared.set_rate(topic, messages=100, weight=3)
    to = [e["to"] for e in events(shared, "limit-changed") if e["name"] == topic]
    assert [(t.get("enforce", True), t.get("weight")) for t in to] == [(True, None), (False, None), (True, 3)]


def test_blocks_are_told(shared, topic):
    made = shared.ok("POST", "/blocks", {"kind": "topic", "name": topic, "note": "n"})
    assert find(shared, "blocked", id=made["id"], name=topic)["note"] == "n"
    shared.ok("DELETE", f"/blocks/{made['id']}")
    assert find(shared, "unblocked", id=made["id"])["why"] == "removed"
    made = shared.ok("POST", "/blocks", {"kind": "topic", "name": topic + "2", "durationMs": 1})
    assert find(shared, "unblocked", id=made["id"])["why"] == "its end has come"


def test_a_quota_that_is_used_up_is_told_once_at_each_mark(shared):
    shared.ok("PUT", "/namespaces/public/used")
    shared.ok("POST", "/namespaces/public/used/publishQuota",
              {"publishThrottlingRateInMsg": 50, "publishThrottlingRateInByte": -1})
    with raw.Connection(shared) as c:
        c.create_producer("persistent://public/used/x")
        c.write(b"".join(raw.send(i) for i in range(200)))
        e = find(shared, "quota-usage", name="public/used", percent=100)
        assert e["kind"] == "namespace" and e["limit"]["rateInMsg"] == 50
        time.sleep(1.5)
        marks = [x["percent"] for x in events(shared, "quota-usage") if x["name"] == "public/used"]
        assert marks == [80, 100]


def test_a_full_buffer_is_told(make_broker):
    b = make_broker("--memory", "32m", config={"maxMessageSize": 1_100_000})
    b.ok("PUT", "/persistent/public/default/t")
    b.set_rate("persistent://public/default/t", messages=1)
    connections = [raw.Connection(b) for _ in range(12)]
    try:
        for i, c in enumerate(connections):
            c.create_producer("t")
            c.socket.settimeout(1)
            body = b"x" * 1_000_000
            try:
                for k in range(3):
                    c.socket.sendall(raw.send(k, body))
            except TimeoutError:
                pass
        assert find(b, "buffer-full", buffer="parked frames")
    finally:
        for c in connections:
            c.close()


def test_numbers_grow_over_a_restart_and_the_file_has_all(make_broker):
    b = make_broker()
    b.ok("PUT", "/persistent/public/default/t")
    for rate in (1, 2, 3):
        b.set_rate("persistent://public/default/t", messages=rate)
    first = events(b)
    b.restart()
    assert events(b) == []
    b.set_rate("persistent://public/default/t", messages=4)
    second = harness.wait_for(lambda: events(b), what="an event")
    numbers = [e["number"] for e in first + second]
    assert len(numbers) == 4 and numbers == sorted(set(numbers))
    assert b.stop() == 0
    written = [json.loads(line) for line in (b.data_dir / "events.jsonl").read_text().splitlines()]
    assert written == first + second


def test_they_are_kept_up_to_a_bound_and_what_is_missed_is_said(make_broker):
    b = make_broker(config={"tidegateEventsKept": 16})
    b.ok("PUT", "/persistent/public/default/t")
    for rate in range(1, 31):
        b.set_rate("persistent://public/default/t", messages=rate)
    answer = b.ok("GET", "/events?since=0")
    got = answer["events"]
    assert [e["to"]["publishThrottlingRateInMsg"] for e in got] == list(range(15, 31))
    assert b.ok("GET", f"/events?since={answer['next']}")["events"] == []
    assert b.ok("GET", f"/events?since={got[0]['number'] - 5}")["missed"] is True
    assert b.ok("GET", f"/events?since={got[3]['number']}")["missed"] is False
    assert [e["number"] for e in b.ok("GET", "/events?limit=2")["events"]] == [e["number"] for e in got[:2]]
    assert b.rest("GET", "/events?since=x").status == 400


def test_many_throttlings_are_rate_limited_and_counted(make_broker):
    """A sample: as in the log, so many a second and worker; the next one says how many were kept back."""
    b = make_broker()
    b.ok("POST", "/namespaces/public/default/publishRate",
         {"publishThrottlingRateInMsg": 50, "publishThrottlingRateInByte": -1, "publishThrottlingBurstInMsg": 1})
    with raw.Connection(b) as c:
        for i in range(300):
            c.create_producer(f"t{i}", producer_id=i)
        for n in range(3):
            order = range(299, -1, -1) if n else range(300)  # who was kept back first
            c.write(b"".join(raw.send(n * 10 + k, producer_id=i) for i in order for k in range(10)))
            for _ in range(3000):
                c.expect(raw.SEND_RECEIPT)
            time.sleep(0.5)
        assert 20 < len(events(b, "throttling-begins")) < 800
        assert any(e.get("keptBack") for e in events(b))


def test_follow_prints_what_comes(shared, topic):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    p = subprocess.Popen([harness.TIDEGATE, "events", "--follow", "--output", "json", "--admin-url", shared.web],
                         stdout=subprocess.PIPE, text=True)
    try:
        shared.set_rate(topic, messages=123)
        for line in p.stdout:
            e = json.loads(line)
            if e["event"] == "limit-changed" and e["name"] == topic:
                break
        assert e["to"]["publishThrottlingRateInMsg"] == 123
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
    assert f'name="{topic}"' in shared.cli("events").stdout
    last = shared.ok("GET", "/events")["next"]
    assert shared.cli("events", "--since", str(last)).stdout == ""


def test_the_end_of_waiting_is_told_when_the_broker_stops(make_broker):
    """Of who waits on any worker, for a topic there or on the other one."""
    b = make_broker("--workers", "2")
    connections = [raw.Connection(b) for _ in range(2)]  # one on each worker
    topics = [f"persistent://public/default/on-{i}" for i in range(2)]
    for c, topic in zip(connections, topics):
        c.create_producer(topic, 1)  # it lives there from now on
        c.write(raw.send(0, producer_id=1) + raw.send(1, producer_id=1))
        for _ in range(2):
            c.expect(raw.SEND_RECEIPT)
        b.ok("POST", f"/{harness.rest_path(topic)}/dispatchRate",
             {"dispatchThrottlingRateInMsg": 1, "dispatchThrottlingRateInByte": -1, "ratePeriodInSecond": 3600})
    names = [(topic, f"of-{i}") for topic in topics for i in range(2)]
    for n, (topic, name) in enumerate(names):
        c = connections[n % 2]
        c.write(raw.subscribe(topic, name, n))
        c.expect(raw.SUCCESS)
    for n in range(len(names)):
        connections[n % 2].write(raw.flow(10, n))
    for topic, name in names:
        find(b, "throttling-begins", topic=topic, subscription=name)
    assert b.stop() == 0
    written = [json.loads(line) for line in (b.data_dir / "events.jsonl").read_text().splitlines()]
    ended = [(e["topic"], e["subscription"]) for e in written if e["event"] == "throttling-ends"]
    assert sorted(ended) == sorted(names)
    for c in connections:
        c.close()
