"""A producer over its limit is stopped at its client: what an unmodified Python client, and its neighbour on the same
connection, see of it. Nothing is lost, doubled or out of order; who is held is refused no message."""
import re
import threading
import time

import harness
import pulsar
import pytest
from admission import NS, Admissions, within

PARK_MS = 400  # 200 messages at 500 a second: a fifth of the client's window


@pytest.fixture(scope="module")
def holding(tmp_path_factory):
    """A broker that parks little, so that a window of 1000 is held."""
    b = harness.Broker(tmp_path_factory.mktemp("hold") / "data", config={"tidegateParkDelayMs": PARK_MS})
    b.start()
    yield b
    assert not b.end()


class Sender(threading.Thread):
    """Sends numbered messages as fast as the client lets it, until stop(); notes what was acknowledged."""

    def __init__(self, producer, size=1000, pace=None):
        super().__init__(daemon=True)
        self.producer, self.body, self.pace = producer, b"x" * size, pace
        self.stopping, self.sent = False, 0
        self.ok, self.failed, self.waits, self.ok_at = [], [], [], []
        self.start()

    def run(self):
        begin = time.monotonic()
        while not self.stopping:
            if self.pace:
                time.sleep(max(0, begin + self.sent / self.pace - time.monotonic()))
            self._send(self.sent)
            self.sent += 1

    def _send(self, n):
        started = time.monotonic()

        def done(result, _):
            if result == pulsar.Result.Ok:
                self.ok.append(n)
                self.waits.append(time.monotonic() - started)
                self.ok_at.append(time.monotonic())
            else:
                self.failed.append((n, result))

        try:
            self.producer.send_async(b"%d " % n + self.body, done)
        except pulsar.PulsarException as e:  # the queue is full of what waits
            self.failed.append((n, e))

    def stop(self):
        self.stopping = True
        self.join(60)
        self.producer.flush()
        return self


def limited(broker, topic, messages):
    broker.ok("PUT", "/" + harness.rest_path(topic))
    broker.set_rate(topic, messages=messages)


def unlimit(broker, topic):
    broker.ok("DELETE", f"/{harness.rest_path(topic)}/publishRate")


def producer(client, topic, **options):
    options = {"send_timeout_millis": 0, "batching_enabled": False, "block_if_queue_full": True,
               "max_pending_messages": 1000} | options
    return client.create_producer(topic, **options)


def publisher(broker, topic):
    publishers = broker.stats(topic)["publishers"]
    return publishers[0] if publishers else {}


def received(client, topic, count, **options):
    """The numbers of all messages, in the topic's order."""
    reader = client.create_reader(topic, pulsar.MessageId.earliest, receiver_queue_size=5000, **options)
    numbers = [int(reader.read_next(10000).data().split(b" ", 1)[0]) for _ in range(count)]
    assert not reader.has_message_available()
    reader.close()
    return numbers


def check_exact(broker, client, topic, sender):
    assert not sender.failed, sender.failed[:3]
    assert sender.ok == list(range(sender.sent))  # each once, in order
    assert received(client, topic, sender.sent) == list(range(sender.sent))
    stats = broker.stats(topic)
    print(f"{sender.sent} messages, {stats['holds']} holds, {stats['discardedMessages']} messages discarded")
    assert stats["holds"] > 0


def test_unbatched(holding, connect, topic):
    client = connect(holding)
    limited(holding, topic, 500)
    sender = Sender(producer(client, topic))
    time.sleep(6)
    held = publisher(holding, topic)
    sender.stop()
    check_exact(holding, client, topic, sender)
    assert held["throttled"] and held["throttledReason"] == "topic"


def test_batched(holding, connect, topic):
    """2000 messages a second in batches of 10: 80 batches are parked, the client has 500 outstanding."""
    client = connect(holding)
    limited(holding, topic, 2000)
    sender = Sender(producer(client, topic, batching_enabled=True, batching_max_messages=10, max_pending_messages=5000,
                             batching_max_publish_delay_ms=2), size=100)
    time.sleep(5)
    sender.stop()
    check_exact(holding, client, topic, sender)


def check_chunked(make_broker, connect, topic, chunk, window, pace, seconds):
    """Messages of two and a half chunks."""
    broker = make_broker(config={"tidegateParkDelayMs": PARK_MS, "maxMessageSize": chunk})
    client = connect(broker)
    limited(broker, topic, 50)
    sender = Sender(producer(client, topic, chunking_enabled=True, max_pending_messages=window), size=chunk * 5 // 2,
                    pace=pace)
    time.sleep(seconds)
    sender.stop()
    check_exact(broker, client, topic, sender)
    assert broker.stats(topic)["msgInCounter"] == 3 * sender.sent


def test_chunked(make_broker, connect, topic):
    """Messages of three chunks each; a hold may begin between two chunks of one. (The window is never full: in the
    middle of a message this client then stops for good, held or not.)"""
    check_chunked(make_broker, connect, topic, chunk=100_000, window=1000, pace=40, seconds=3)


def test_partitioned(holding, connect, topic):
    """Two partitions, each over its limit: each is held for itself, and in order for itself."""
    client = connect(holding)
    name = harness.rest_path(topic)
    holding.ok("PUT", f"/{name}/partitions", 2)
    holding.set_rate(topic, messages=300)
    parts = [f"{topic}-partition-{i}" for i in range(2)]
    sender = Sender(producer(client, topic,
                             message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution))
    time.sleep(5)
    sender.stop()
    assert not sender.failed and sorted(sender.ok) == list(range(sender.sent))
    in_parts = [received(client, part, holding.stats(part)["msgInCounter"]) for part in parts]
    assert all(numbers == sorted(numbers) for numbers in in_parts)
    assert sorted(in_parts[0] + in_parts[1]) == list(range(sender.sent))
    assert all(holding.stats(part)["holds"] > 0 for part in parts)


def median(numbers):
    return sorted(numbers)[len(numbers) // 2]


def test_its_neighbours_on_the_connection_flow(holding, connect, topic):
    """A producer and a consumer: their waits are far below those of the one that is held."""
    client = connect(holding)
    other = topic + "-other"
    limited(holding, topic, 500)
    consumer = client.subscribe(other, "s")
    arrivals = []

    def listen():
        try:
            while True:
                message = consumer.receive(3000)
                arrivals.append(time.time() - message.publish_timestamp() / 1000)
                consumer.acknowledge(message)
        except pulsar.Timeout:
            pass

    neighbour = Sender(producer(client, other), size=100, pace=200)
    sender = Sender(producer(client, topic))
    listener = threading.Thread(target=listen)
    listener.start()
    time.sleep(6)
    sender.stop(), neighbour.stop()
    listener.join()
    check_exact(holding, client, topic, sender)
    assert not neighbour.failed and len(arrivals) == neighbour.sent
    wait = median(sender.waits)
    print(f"held: {wait:.3f} s; neighbour: {median(neighbour.waits):.4f} s, p99 "
          f"{sorted(neighbour.waits)[len(neighbour.waits) * 99 // 100]:.4f} s; consumer {median(arrivals):.4f} s")
    assert sorted(neighbour.waits)[len(neighbour.waits) * 99 // 100] < wait / 4
    assert sorted(arrivals)[len(arrivals) * 99 // 100] < wait / 4


def test_what_is_sent_again_ends_when_the_window_fits(holding, connect, topic):
    """A window of 1000 is 2 s of the rate: after three releases all of it is parked, and nothing is discarded any more."""
    client = connect(holding)
    limited(holding, topic, 500)
    sender = Sender(producer(client, topic))
    time.sleep(6)  # each hold lasts for what is parked: 0.4 s at first, 2 s at most
    before = publisher(holding, topic)
    time.sleep(4)
    after = publisher(holding, topic)
    sender.stop()
    assert 1 <= before["holds"] <= 3
    assert after["discardedMessages"] == before["discardedMessages"] and after["holds"] == before["holds"]
    assert after["throttled"]
    check_exact(holding, client, topic, sender)


def goodput(broker, connect, topic, seconds):
    """10 messages a second, a window of 1000, a send time-out of 5 s: successes of each 10 s."""
    limited(broker, topic, 10)
    sender = Sender(producer(connect(broker), topic, send_timeout_millis=5000))
    begin = time.monotonic()
    time.sleep(seconds)
    sender.stopping = True
    unlimit(broker, topic)
    sender.join(60)
    counts = [sum(begin + t <= at < begin + t + 10 for at in sender.ok_at) for t in range(0, seconds, 10)]
    print(f"successes in each 10 s: {counts}, {len(sender.failed)} sends timed out")
    assert all(90 <= n <= 110 for n in counts)
    assert sender.ok == sorted(sender.ok)


def test_messages_succeed_though_their_window_outlasts_their_time_out(make_broker, connect, topic):
    goodput(make_broker(), connect, topic, 20)


@pytest.mark.slow
@pytest.mark.limit(180)
def test_messages_succeed_for_a_minute(make_broker, connect, topic):
    goodput(make_broker(), connect, topic, 60)


def check_each_ten_seconds(broker, topic, rate):
    ledger = broker.ok("GET", f"/{harness.rest_path(topic)}/lastMessageId")["ledgerId"]
    a = Admissions(broker.stored(ledger))
    begin = a.first_refusal(rate)
    counts = [a.between(begin + i * NS, begin + (i + 10) * NS) for i in range(0, 50, 10)]
    print(f"admitted in each 10 s: {counts}")
    assert all(within(n, 10 * rate, a.largest) for n in counts)


@pytest.mark.slow
@pytest.mark.limit(180)
@pytest.mark.parametrize("words", [{}, {"batching_enabled": True, "batching_max_messages": 5}], ids=["unbatched", "batched"])
def test_exact_for_a_minute(make_broker, connect, topic, words):
    """No message lost, and none of the rate."""
    broker = make_broker()
    client = connect(broker)
    limited(broker, topic, 500)
    sender = Sender(producer(client, topic, max_pending_messages=8000, **words))  # never fits
    time.sleep(60)
    sender.stop()
    check_exact(broker, client, topic, sender)
    check_each_ten_seconds(broker, topic, 500)


@pytest.mark.slow
@pytest.mark.limit(240)
def test_chunked_for_a_minute(make_broker, connect, topic):
    """60 chunks a second come where 50 may pass: more and more of them are outstanding."""
    check_chunked(make_broker, connect, topic, chunk=10_000, window=2000, pace=20, seconds=60)


@pytest.mark.slow
@pytest.mark.limit(240)
def test_partitioned_for_a_minute(make_broker, connect, topic):
    """Windows that never fit, each partition held for itself, and at its rate to the end."""
    broker = make_broker()
    client = connect(broker)
    broker.ok("PUT", f"/{harness.rest_path(topic)}/partitions", 2)
    broker.set_rate(topic, messages=300)
    parts = [f"{topic}-partition-{i}" for i in range(2)]
    sender = Sender(producer(client, topic, max_pending_messages=6000,
                             message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution), size=100)
    time.sleep(60)
    sender.stop()
    assert not sender.failed and sorted(sender.ok) == list(range(sender.sent))
    numbers = []
    for part in parts:
        numbers.append(received(client, part, broker.stats(part)["msgInCounter"]))
        assert numbers[-1] == sorted(set(numbers[-1]))
        assert broker.stats(part)["holds"] > 3
        check_each_ten_seconds(broker, part, 300)
    assert sorted(sum(numbers, [])) == list(range(sender.sent))


@pytest.mark.slow
@pytest.mark.limit(180)
@pytest.mark.parametrize("words", [{}, {"batching_enabled": True, "batching_max_messages": 20}],
                         ids=["unbatched", "batched"])
def test_exact_under_many_short_holds(make_broker, connect, topic, words):
    """Nothing is parked but one frame, and there may be any number of holds a second."""
    broker = make_broker(config={"tidegateParkDelayMs": 0, "tidegateHoldSpacingMs": 0})
    client = connect(broker)
    limited(broker, topic, 5000)
    sender = Sender(producer(client, topic, max_pending_messages=60_000, **words), size=100)
    time.sleep(20)
    sender.stop()
    check_exact(broker, client, topic, sender)


# ---- what may happen meanwhile ----

@pytest.fixture
def held(holding, connect, topic):
    """A sender that is being held: 10 a second, far from its end."""
    client = connect(holding)
    limited(holding, topic, 10)
    sender = Sender(producer(client, topic))
    sender.client = client
    harness.wait_for(lambda: publisher(holding, topic).get("throttleStep") == "hold", what="the hold")
    time.sleep(0.2)  # it has registered again
    return sender


def test_closed_by_the_application(holding, held, topic):
    """It returns; a producer of its name may be made at once, and goes on."""
    name = held.producer.producer_name()
    held.stopping = True
    held.producer.close()
    held.join(10)
    harness.wait_for(lambda: publisher(holding, topic).get("throttleStep") in (None, "hold"), what="the end")
    unlimit(holding, topic)
    again = producer(held.client, topic, producer_name=name)
    again.send(b"1000000 again")
    stored = received(held.client, topic, holding.stats(topic)["msgInCounter"])
    assert stored[-1] == 1_000_000 and stored[:-1] == list(range(len(stored) - 1))
    assert len(held.ok) <= len(stored) - 1
    again.close()


def test_its_limit_is_removed(holding, held, topic):
    unlimit(holding, topic)
    time.sleep(1)
    held.stop()
    check_exact(holding, held.client, topic, held)


def test_its_topic_is_deleted(holding, held, topic):
    """Its client makes it anew, and sends there what had no receipt."""
    holding.ok("DELETE", f"/{harness.rest_path(topic)}?force=true")
    harness.wait_for(lambda: holding.rest("GET", f"/{harness.rest_path(topic)}/stats").status == 200
                     and holding.stats(topic)["msgInCounter"] > 1000, 30, what="messages in the new topic")
    held.stop()
    assert not held.failed and held.ok == list(range(held.sent))
    numbers = received(held.client, topic, holding.stats(topic)["msgInCounter"])
    assert numbers == list(range(numbers[0], held.sent))


@pytest.mark.parametrize("crash", [False, True])
def test_the_broker_goes_and_comes(make_broker, connect, topic, crash):
    broker = make_broker("--broker-port", "28551", config={"tidegateParkDelayMs": PARK_MS})
    client = connect(broker)
    limited(broker, topic, 300)
    sender = Sender(producer(client, topic))
    harness.wait_for(lambda: publisher(broker, topic).get("throttleStep") == "hold", what="the hold")
    broker.restart(crash=crash)
    time.sleep(2)
    sender.stop()
    assert not sender.failed and sender.ok == list(range(sender.sent))
    first_times = dict.fromkeys(received(client, topic, stored_count(broker, topic)))  # a crash may double some
    assert list(first_times) == list(range(sender.sent))


def stored_count(broker, topic):
    """Messages stored, before and after a restart."""
    ledger = broker.ok("GET", f"/{harness.rest_path(topic)}/lastMessageId")["ledgerId"]
    return sum(row["messages"] for row in broker.stored(ledger))


@pytest.mark.slow
@pytest.mark.limit(240)
def test_memory_of_a_thousand_producers_far_over_their_limits(make_broker, connect, topic):
    """Each keeps its window of 200 KB full, which is 8 s of its limit: parked whole they would be three times the budget.
    Who gets none of the memory meanwhile gets it later."""
    budget, rate, window = 64 * 1024 * 1024, 5, 40
    broker = make_broker("--memory", "64m")
    client = connect(broker)
    broker.ok("POST", "/namespaces/public/default/publishRate",
              {"publishThrottlingRateInMsg": rate, "publishThrottlingRateInByte": -1})
    producers = [producer(client, f"{topic}-{i}", max_pending_messages=window, block_if_queue_full=False)
                 for i in range(1000)]
    empty = broker.memory_bytes()
    ok, failures, lock = [0] * 1000, [], threading.Lock()
    stopping = threading.Event()

    def send(i, n):
        def done(result, _):
            if result != pulsar.Result.Ok and not stopping.is_set():
                with lock:
                    failures.append(result)
            ok[i] += result == pulsar.Result.Ok
            if not stopping.is_set():
                send(i, n + window)
        producers[i].send_async(b"%d " % n + b"x" * 5000, done)

    def watch(seconds):
        end, largest = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            largest = max(largest, broker.memory_bytes())
            time.sleep(0.2)
        return largest, list(ok)

    begin = time.monotonic()
    for n in range(window):
        for i in range(1000):
            send(i, n)
    largest, before = watch(25)
    more, after = watch(35)
    largest = max(largest, more)
    most = (time.monotonic() - begin + 1) * rate + 1
    later = [b - a for a, b in zip(before, after)]
    metrics = broker.rest("GET", "/metrics", base="").text
    holds = sum(map(float, re.findall(r"^tidegate_holds_total\S* (\S+)$", metrics, re.M)))
    stopping.set()
    print(f"resident {largest / 1e6:.0f} MB at most, {empty / 1e6:.0f} MB before; {sum(later) / 35:.0f} messages/s, "
          f"{holds:.0f} holds; of one producer {min(later)} to {max(later)} in the last 35 s")
    assert not failures
    assert largest < budget + empty
    assert holds > 1000  # they were over their limits
    assert min(later) > 0 and max(after) <= most
