"""Several workers: a client's connection is on one, the topics it uses on others. Whatever lives where, clients must
see no difference. Each client has one connection, and connections go round the workers."""
import random
import re
import threading
import time

import harness
import pulsar
import pytest
from test_throttle import Load, check_rate, admissions, limited

N = 4
pytestmark = pytest.mark.limit(180)


@pytest.fixture
def spread(make_broker, connect):
    """A broker with four workers, and a client on each."""
    broker = make_broker("--workers", str(N))
    clients = [connect(broker) for _ in range(N)]
    for i, c in enumerate(clients):
        c.create_producer(f"placed-{i}").close()
    lines = broker.rest("GET", "/metrics", base="").text.splitlines()
    for what in ("connections", "topics"):
        counts = [float(v) for v in (m[1] for m in map(re.compile(rf"tidegate_worker_{what}{{.*}} (\S+)").match, lines) if m)]
        assert counts == [1] * N, (what, counts)
    return broker, clients


def drain(consumer, count):
    got = []
    for _ in range(count):
        m = consumer.receive(20000)
        got.append(m.data())
        consumer.acknowledge(m)
    return got


def test_every_pair_of_workers(spread):
    broker, clients = spread
    for at in range(N):  # where the topic lives: its producer's worker
        for on in range(N):
            name = f"pair-{at}-{on}"
            producer = clients[at].create_producer(name)
            consumer = clients[on].subscribe(name, "s")
            other = clients[(on + 1) % N].create_producer(name, batching_enabled=False)
            sent = [b"%d" % i for i in range(200)]
            for i, body in enumerate(sent):
                (producer if i % 2 else other).send(body)
            assert drain(consumer, 200) == sent
            consumer.close(), producer.close(), other.close()


def test_large_messages_and_a_slow_consumer(spread):
    broker, clients = spread
    consumer = clients[1].subscribe("large", "s", receiver_queue_size=200)
    producer = clients[0].create_producer("large", block_if_queue_full=True, batching_enabled=False)
    body = bytes(500_000)
    for i in range(100):  # 50 MB: more than any output takes
        producer.send_async(b"%d " % i + body, lambda *_: None)
    producer.flush()
    time.sleep(1)
    assert [int(d.split(b" ", 1)[0]) for d in drain(consumer, 100)] == list(range(100))


def test_a_limit_over_there_stops_only_its_producer(spread):
    broker, clients = spread
    limited(broker, "persistent://public/default/far", messages=500)
    clients[0].create_producer("far").close()  # it lives there
    load = Load(clients[2], "far", batching_enabled=False)
    neighbour = clients[2].create_producer("near")
    waits = []
    for _ in range(200):
        begin = time.monotonic()
        neighbour.send(b"x")
        waits.append(time.monotonic() - begin)
        time.sleep(0.06)
    assert sorted(waits)[190] < 0.5
    stats = broker.ok("GET", "/persistent/public/default/far/stats")
    assert stats["throttledReason"] == "topic" and stats["parkedMessages"] > 0
    load.stop()
    check_rate(admissions(broker, "persistent://public/default/far"), 500)


def test_a_window_over_its_parking_is_held_over_there_and_released(spread):
    broker, clients = spread
    limited(broker, "persistent://public/default/far", messages=100)
    clients[0].create_producer("far").close()
    load = Load(clients[2], "far", window=1000, batching_enabled=False)
    time.sleep(1)
    waiting = broker.ok("GET", "/persistent/public/default/far/explain")["waiting"]
    assert [(p["step"], p["connectionPaused"]) for p in waiting] == [("hold", False)]
    broker.set_rate("persistent://public/default/far", messages=100_000)
    load.stop()
    clients[2].create_producer("near").send(b"x")
    assert broker.ok("GET", "/persistent/public/default/far/explain")["throttled"] is False
    assert [entry for _, entry, _ in load.ids] == list(range(load.sent))


def test_topics_deleted_and_unloaded_while_other_workers_use_them(spread):
    broker, clients = spread
    rest = "/persistent/public/default/busy"
    clients[0].create_producer("busy").close()
    stop, problems = threading.Event(), []

    def produce(c):
        p = c.create_producer("busy", send_timeout_millis=20000)
        while not stop.is_set():
            try:
                p.send(b"x" * 100)
            except pulsar.PulsarException as e:
                problems.append(e)
                return

    def consume(c):
        k = c.subscribe("busy", "s", consumer_type=pulsar.ConsumerType.Shared)
        while not stop.is_set():
            try:
                k.acknowledge(k.receive(100))
            except pulsar.Timeout:
                pass
            except pulsar.PulsarException as e:
                problems.append(e)
                return

    threads = [threading.Thread(target=f, args=(clients[i],), daemon=True) for i in range(N) for f in (produce, consume)]
    for t in threads:
        t.start()
    for _ in range(10):
        time.sleep(0.3)
        broker.ok("PUT", rest + "/unload")
        time.sleep(0.3)
        assert broker.rest("DELETE", rest + "?force=true").status in (204, 404)
    harness.wait_for(lambda: broker.rest("GET", rest + "/stats").status == 200, what="the clients' return")
    stop.set()
    for t in threads:
        t.join(30)
    assert not problems


def test_anything_at_once(spread):
    """Clients come, use topics of all workers and go without a word, while REST looks on."""
    broker, _ = spread
    end, problems = time.monotonic() + 10, []

    def one(seed):
        rng = random.Random(seed)
        while time.monotonic() < end:
            c = pulsar.Client(broker.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
            try:
                for _ in range(3):
                    name = f"any-{rng.randrange(6)}"
                    p = c.create_producer(name, batching_enabled=rng.random() < 0.5)
                    k = c.subscribe(name, f"s{rng.random()}")
                    sent = 1 + rng.randrange(50)
                    for _ in range(sent - 1):
                        p.send_async(bytes(rng.randrange(2000)), lambda *_: None)
                    p.send(b"last")
                    for _ in range(min(sent, rng.randrange(20))):  # more may never come
                        k.acknowledge(k.receive(10000))
                    if rng.random() < 0.5:
                        k.close(), p.close()
            except pulsar.PulsarException as e:
                problems.append(e)
            finally:
                c.close()

    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(6)]
    for t in threads:
        t.start()
    while time.monotonic() < end:
        for path in ("/metrics", "/admin/v2/broker-stats/topics", "/admin/v2/persistent/public/default/any-0/stats",
                     "/admin/v2/persistent/public/default/any-1/explain"):
            assert broker.rest("GET", path, base="").status in (200, 404)
    for t in threads:
        t.join(60)
    assert not problems, problems[:3]


def test_after_a_restart_a_topic_goes_to_who_uses_it_first(spread, connect):
    broker, clients = spread
    for i in range(N):
        clients[0].subscribe(f"again-{i}", "s").close()
        clients[0].create_producer(f"again-{i}").send(b"before")
    for c in clients:
        c.close()
    broker.stop()
    broker.start()
    clients = [connect(broker) for _ in range(N)]
    for i, c in enumerate(clients):
        c.create_producer(f"again-{i}").send(b"after")
    lines = [x for x in broker.rest("GET", "/metrics", base="").text.splitlines() if x.startswith("tidegate_worker_topics{")]
    assert all(float(x.split()[-1]) >= 1 for x in lines) and len(lines) == N
    for i, c in enumerate(clients):
        k = clients[(i + 1) % N].subscribe(f"again-{i}", "s")
        assert drain(k, 2) == [b"before", b"after"]
