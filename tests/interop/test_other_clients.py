"""Official Go and Java clients, unmodified: plain use, and publish limits as they meet them. `make interop-clients` builds
them and runs all of this; `make interop` the shorter tests with those that its CLIENTS names. clients/README.md describes
the programs."""
import os
import time

import harness
import others
import pulsar
import pytest
from test_throttle import admissions, check_rate, limited

pytestmark = pytest.mark.slow
long = pytest.mark.skipif(not harness.LONG, reason="one of the long ones (LONG=1)")
MB = 1024 * 1024
# These lock nothing while they send again what was outstanding at a reconnect: new messages may come between.
MIXES_WHAT_IT_SENDS_AGAIN = ("go-0.9.0", "go-0.13.1", "go-0.16.0")


@pytest.fixture(params=others.NAMES)
def start(request, shared, tmp_path):
    """start(topic, **words): the client of this run, begun; .report() waits for its end. start.name names it."""
    reason = others.why_not(request.param)
    if reason:
        pytest.skip(reason)
    clients = []
    request.node.logs = []

    def make(topic, broker=shared, **words):
        path = tmp_path / f"{request.param}-{len(clients)}.log"
        request.node.logs.append(path)
        clients.append(others.Client(request.param, broker, topic, path, **words))
        return clients[-1]

    make.name = request.param
    yield make
    for c in clients:
        c.end()


@pytest.fixture
def fixed(make_broker):
    """On a port that stays the same, so that clients find it again."""
    return make_broker("--broker-port", str(28650 + os.getpid() % 1000))


# ---- plain use ----

WAYS = {
    "unbatched": {"count": 500, "size": 1000},
    "batched": {"count": 5000, "size": 100, "batching": "on", "batch": 100},
    "large": {"count": 4, "size": 5 * MB - 20000},
    "chunked": {"count": 3, "size": 12 * MB, "chunking": "on"},
}


def test_what_it_sends_comes_back_whole_and_in_order(start, shared, connect, topic):
    ways = {name: words for name, words in WAYS.items() if name != "chunked" or start.name != "go-0.9.0"}
    running = {name: start(f"{topic}-{name}", **words) for name, words in ways.items()}
    for name, client in running.items():
        count = ways[name]["count"]
        everything = list(range(count))
        assert others.compare(client.report()["a"], others.stored(connect, shared, f"{topic}-{name}")) == everything
        running[name] = start(f"{topic}-{name}", consume=count)
    for name, client in running.items():
        got = client.report()
        assert got == {"received": [[0, ways[name]["count"] - 1]], "damaged": 0}, name
        subscription = shared.stats(f"{topic}-{name}")["subscriptions"]["s"]
        assert subscription["msgBacklog"] == 0


@long
def test_what_others_sent_comes_whole(start, connect, shared, topic):
    producer = connect(shared).create_producer(topic, batching_enabled=True, chunking_enabled=False,
                                               compression_type=pulsar.CompressionType.LZ4)
    for i in range(1000):
        producer.send_async(others.body(i, 200 + i), None)
    producer.flush()
    assert start(topic, consume=1000).report() == {"received": [[0, 999]], "damaged": 0}


@long
def test_consumers_of_a_shared_subscription_divide_the_messages(start, shared, topic):
    consumers = [start(topic, consume=1000, subscription_type="shared", seconds=5) for _ in range(2)]
    assert start(topic, count=1000, rate=500).report()["a"]["ok"] == [[0, 999]]
    got = [others.numbers(c.report()["received"]) for c in consumers]
    assert sorted(sum(got, [])) == list(range(1000))
    assert all(len(mine) > 100 for mine in got)
    assert shared.stats(topic)["subscriptions"]["s"]["msgBacklog"] == 0


@long
def test_partitions_are_found(start, shared, topic):
    shared.cli("topics", "create-partitioned-topic", topic, "-p", "3")
    assert start(topic, count=999, batching="on", batch=10).report()["a"]["ok"]
    assert sum(shared.stats(f"{topic}-partition-{i}")["msgInCounter"] for i in range(3)) == 999
    got = start(topic, consume=999).report()
    assert sorted(others.numbers(got["received"])) == list(range(999)) and got["damaged"] == 0


@long
@pytest.mark.parametrize("crash", [False, True], ids=["in order", "killed"])
def test_it_goes_on_after_a_restart_of_the_broker(start, fixed, connect, topic, crash):
    client = start(topic, broker=fixed, rate=300, seconds=8)
    for _ in range(2):
        time.sleep(2)
        fixed.restart(crash=crash)
    report = client.report()["a"]
    everything = list(range(report["sent"]))
    assert sorted(others.numbers(report["ok"])) == everything
    first_times = list(dict.fromkeys(others.stored(connect, fixed, topic)))
    if start.name in MIXES_WHAT_IT_SENDS_AGAIN:
        first_times.sort()
    assert first_times == everything


# ---- limits ----


def keep(broker, topic):
    """What no subscription needs goes when its segment is full: too early for a test that compares many messages."""
    broker.ok("PUT", f"/{harness.rest_path(topic)}/subscription/keep")


NEVER_HELD = ("go-0.9.0",)  # it does not know that it may have to wait


def check_all(start, report, broker, connect, topic):
    """A's and B's messages: none failed, and B was not kept waiting, since A was held at its client."""
    others.compare(report["a"], others.stored(connect, broker, topic))
    others.compare(report["b"], others.stored(connect, broker, topic + "-b"))
    for who in "ab":
        assert not report[who]["failures"] and not report[who]["pending"]
    stats = broker.stats(topic)
    print(f"{stats['holds']} holds, {stats['discardedMessages']} messages discarded")
    if start.name in NEVER_HELD:
        assert stats["holds"] == 0
        return
    assert report["b"]["ms"]["p50"] < 100 and report["b"]["ms"]["p99"] < 500  # a socket that rests: seconds


def test_a_limit_is_exact_and_its_neighbour_feels_nothing(start, shared, connect, topic):
    limited(shared, topic, messages=500)
    report = start(topic, seconds=11.5, window=2000, neighbour_topic=topic + "-b").report()
    check_all(start, report, shared, connect, topic)
    check_rate(admissions(shared, topic), 500, plain=False)
    stats = shared.stats(topic)
    assert start.name in NEVER_HELD or 1 <= stats["holds"] <= 4  # then its window is parked here


@long
@pytest.mark.parametrize("rate, words", [
    (500, {"window": 1000}),
    (500, {"window": 3000}),
    (2000, {"window": 5000, "batching": "on", "batch": 50, "size": 100}),
    (50, {"window": 100}),
], ids=["fits", "more than is parked", "batches", "few"])
def test_exact_for_a_minute(start, shared, connect, topic, rate, words):
    limited(shared, topic, messages=rate)
    report = start(topic, seconds=60, neighbour_topic=topic + "-b", **words).report()
    check_all(start, report, shared, connect, topic)
    check_rate(admissions(shared, topic), rate, plain=False)


@long
@pytest.mark.parametrize("count", [10, 100])
def test_a_neighbour_of_many_who_are_over_their_limits(start, shared, connect, topic, count):
    if start.name in NEVER_HELD:
        pytest.skip("it is never held")
    shared.ok("PUT", f"/namespaces/public/{topic.rsplit('/', 1)[1]}")
    topic = f"persistent://public/{topic.rsplit('/', 1)[1]}/a"
    topics = [topic] + [f"{topic}-{i}" for i in range(1, count)]
    for t in topics:
        limited(shared, t, messages=1000 // count)
    report = start(topic, seconds=20, producers=count, window=6000 // count, neighbour_topic=topic + "-b").report()
    check_all(start, report, shared, connect, topic)
    for t, one in zip(topics[1:], report["more"]):
        assert others.compare(one, others.stored(connect, shared, t)) == list(range(one["sent"])), t


@long
@pytest.mark.parametrize("words", [{}, {"batching": "on", "batch": 20}], ids=["unbatched", "batched"])
def test_many_short_holds_lose_and_double_nothing(start, make_broker, connect, topic, words):
    """Several hundred, mostly: a client that is stopped while it fills its queue has so few in it that they are parked."""
    broker = make_broker(config={"tidegateParkDelayMs": 0, "tidegateHoldSpacingMs": 0})
    limited(broker, topic, messages=500)
    report = start(topic, broker=broker, seconds=10, window=6000, size=100, **words).report()["a"]
    assert others.compare(report, others.stored(connect, broker, topic)) == list(range(report["sent"]))
    holds = broker.stats(topic)["holds"]
    print(f"{holds} holds")
    assert start.name in NEVER_HELD or holds > 4


@long
def test_chunks_under_a_limit(start, shared, connect, topic):
    if start.name == "go-0.9.0":
        pytest.skip("it has no chunks")
    limited(shared, topic, messages=2)
    keep(shared, topic)
    report = start(topic, count=12, size=12 * MB, chunking="on", window=20).report()
    others.compare(report["a"], others.stored(connect, shared, topic))
    assert report["a"]["ok"] == [[0, 11]]


@long
def test_partitions_under_a_limit_each(start, shared, connect, topic):
    shared.cli("topics", "create-partitioned-topic", topic, "-p", "2")
    parts = [f"{topic}-partition-{i}" for i in range(2)]
    shared.set_rate(topic, messages=200)
    report = start(topic, seconds=14, window=1500).report()["a"]
    counters = [others.stored(connect, shared, part) for part in parts]
    assert all(c == sorted(set(c)) for c in counters)
    assert sorted(sum(counters, [])) == sorted(others.numbers(report["ok"])) == list(range(report["sent"]))
    for part in parts:
        a = admissions(shared, part)
        if start.name in NEVER_HELD:  # what one has too much of stops the socket of both: never over, but less at times
            assert a.most_in_a_window(1) <= 2 * 200 + a.largest
        else:
            check_rate(a, 200, plain=False)


@long
def test_a_limit_that_is_removed_lets_all_go(start, shared, connect, topic):
    limited(shared, topic, messages=50)
    keep(shared, topic)
    client = start(topic, seconds=8, window=3000)
    time.sleep(5)
    shared.ok("DELETE", f"/{harness.rest_path(topic)}/publishRate")
    report = client.report()["a"]
    assert not report["failures"] and report["sent"] > 5000
    others.compare(report, others.stored(connect, shared, topic))


@long
def test_a_restart_of_the_broker_while_it_waits(start, fixed, connect, topic):
    limited(fixed, topic, messages=100)
    client = start(topic, broker=fixed, seconds=12, window=2000)
    for _ in range(2):
        time.sleep(4)
        fixed.restart()
    report = client.report()["a"]
    assert not report["failures"] and not report["pending"]
    first_times = list(dict.fromkeys(others.stored(connect, fixed, topic)))
    if start.name in MIXES_WHAT_IT_SENDS_AGAIN:
        first_times.sort()
    assert first_times == others.numbers(report["ok"])


@long
def test_goodput_of_a_short_send_timeout(start, shared, connect, topic):
    """1000 outstanding at 10 a second would take 100 s, and each is given up after 5: messages that waited here longer
    are stored in vain, and then so are all behind them. Until the first are given up nobody can know."""
    if start.name in NEVER_HELD:
        pytest.skip("it is never held")
    limited(shared, topic, messages=10)
    report = start(topic, seconds=60, window=1000, send_timeout=5, neighbour_topic=topic + "-b", drain=10).report()
    others.compare(report["a"], others.stored(connect, shared, topic))
    per_second = report["a"]["per_second"][:60]
    print(per_second)
    assert 540 <= sum(per_second) <= 660
    for begin in range(10, 60, 10):
        assert 85 <= sum(per_second[begin:begin + 10]) <= 110, f"from second {begin}"


@long
def test_javas_default_window_of_64_mb(start, make_broker, connect, topic):
    """The hard case: a window of two minutes of the limit. It never fits, so each release has all of it sent again, but
    no more often than what is parked lasts, 10 s; here lies no more than that, and nothing is lost."""
    if not start.name.startswith("java"):
        pytest.skip("others have a window in messages")
    rate, seconds, window = 500, 40, 64 * MB // 1000
    broker = make_broker("--memory", "64m")
    limited(broker, topic, messages=rate)
    keep(broker, topic)
    empty = largest = broker.memory_bytes()
    client = start(topic, broker=broker, seconds=seconds, window=0, drain=60)
    end = time.monotonic() + seconds + 1
    while time.monotonic() < end:
        largest = max(largest, broker.memory_bytes())
        time.sleep(0.1)
    stats = broker.stats(topic)
    accepted, holds, again = stats["msgInCounter"], stats["holds"], stats["discardedMessages"]
    admitted = admissions(broker, topic)
    broker.ok("DELETE", f"/{harness.rest_path(topic)}/publishRate")
    report = client.report()["a"]
    print(f"{accepted} accepted, {holds} holds, {again} sent again ({again / accepted:.1f} for one), at most "
          f"{again / holds:.0f} a hold, resident {largest / MB:.0f} MB at most, {empty / MB:.0f} MB before")
    assert others.compare(report, others.stored(connect, broker, topic)) == list(range(report["sent"]))
    check_rate(admitted, rate, plain=False)
    assert report["sent"] > window  # it filled all of it
    assert 1 <= holds <= 2 + seconds // 8
    assert again <= 1.1 * holds * window
    assert largest < empty + 64 * MB
