"""Mixed load for SECS seconds (600) on WORKERS workers: memory stays flat after the warm-up, no descriptor leaks, rates
are exact in the first and in the last minute, and the log has no error.

Publishers with and without batches, topics with limits of messages and of bytes, a namespace with a quota, consumers
(Exclusive, Shared, one that is slow, one that comes and goes), topics that are made and deleted, REST that is polled."""
import os
import pathlib
import re
import statistics
import threading
import time

import harness
import pulsar
import pytest
from admission import NS, Admissions, within
from test_throttle import Load

SECS = int(os.environ.get("SECS", "600"))
WARM_UP_S = min(60, SECS / 3)  # caches fill, the first segments are recycled
WINDOW_S = int(min(60, SECS / 4))  # "the first minute", "the last minute"
GROWTH, GROWTH_BYTES = 0.05, 4 << 20  # resident memory, from the end of the warm-up to the end
DESCRIPTORS = 8  # a segment more or less, a connection that is just being made
MESSAGES, QUOTA, BYTES = 300, 400, 40_000  # per second: of a topic, of the namespace, of the other topic
SIZE_FIELD = 4  # of the metadata: stored, but not counted by limits
NAME = "persistent://public/default/soak-"
QUOTED = [f"persistent://public/quoted/soak-{i}" for i in range(4)]


class Task(threading.Thread):
    """Calls step() until stop(); a step that fails ends it, and the test."""

    def __init__(self, step, pause_s=0.0):
        super().__init__(daemon=True)
        self.step, self.pause_s, self.steps, self.problem, self.stopping = step, pause_s, 0, None, False
        self.start()

    def run(self):
        try:
            while not self.stopping:
                self.step()
                self.steps += 1
                time.sleep(self.pause_s)
        except Exception as e:  # told by stop(), in the test's thread
            self.problem = e

    def stop(self):
        self.stopping = True
        self.join(60)
        assert not self.is_alive() and self.problem is None and self.steps > 0, f"{self.step}: {self.problem!r}"


class Watch:
    def __init__(self, broker):
        self.broker, self.samples, self.begin = broker, [], time.monotonic()
        self.task = Task(self.sample, 0.5)

    def sample(self):
        files = len(list(pathlib.Path(f"/proc/{self.broker.process.pid}/fd").iterdir()))
        self.samples.append((time.monotonic() - self.begin, self.broker.memory_bytes(), files))

    def around(self, first_s, last_s):
        """Medians of resident bytes and descriptors."""
        part = [s for s in self.samples if first_s <= s[0] < last_s]
        return [statistics.median(s[i] for s in part) for i in (1, 2)]


def reader_of(client, topic, name, kind, pause_s=0.0):
    consumer = client.subscribe(topic, name, kind, initial_position=pulsar.InitialPosition.Earliest,
                                receiver_queue_size=100)

    def step():
        try:
            consumer.acknowledge(consumer.receive(1000))
        except pulsar.Timeout:
            pass
        time.sleep(pause_s)
    return step


def comes_and_goes(broker, topic):
    def step():
        client = pulsar.Client(broker.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
        consumer = client.subscribe(topic, "comes-and-goes", pulsar.ConsumerType.Shared, receiver_queue_size=50)
        for _ in range(20):
            consumer.acknowledge(consumer.receive(20000))
        client.close()
    return step


def makes_and_deletes(broker, client):
    made = [0]

    def step():
        name = f"{NAME}made-{made[0] % 50}"
        made[0] += 1
        producer = client.create_producer(name)
        consumer = client.subscribe(name, "s", initial_position=pulsar.InitialPosition.Earliest)
        for i in range(10):
            producer.send(b"%d" % i)
        for _ in range(5):
            consumer.acknowledge(consumer.receive(20000))
        consumer.close()
        producer.close()
        broker.ok("DELETE", f"/{harness.rest_path(name)}")
    return step


def polls(broker):
    def step():
        for t in [f"{NAME}messages", f"{NAME}free", QUOTED[0]]:
            broker.stats(t)
            broker.ok("GET", f"/{harness.rest_path(t)}/explain")
        broker.ok("GET", "/metrics", base="")
        broker.ok("GET", "/persistent/public/default")
    return step


def keep(client, topic):
    """A subscription that acknowledges nothing: what was admitted can be looked up at the end."""
    client.subscribe(topic, "keeper", initial_position=pulsar.InitialPosition.Earliest).close()


def check_exact(rows, ledgers, rate, weight, end_ns):
    """In the first window after the burst of the start is spent, and in the last."""
    a = Admissions([r for r in rows if r["ledger"] in ledgers], weight)
    begin = a.start + 5 * NS
    for what, first in (("first", begin), ("last", end_ns - WINDOW_S * NS)):
        got = a.between(first, first + WINDOW_S * NS)
        print(f"{what} {WINDOW_S} s: {got / WINDOW_S:.1f} {weight}/s of {rate} ({(got / rate / WINDOW_S - 1) * 100:+.3f} %)")
        assert within(got, rate * WINDOW_S, a.largest), what


@pytest.mark.slow
@pytest.mark.limit(SECS + 300)
def test_mixed_load(make_broker, connect):
    broker = make_broker("--memory", "128M", config={"tidegateSegmentSizeMB": 8})
    admin = connect(broker)
    broker.ok("PUT", "/namespaces/public/quoted")
    broker.ok("POST", "/namespaces/public/quoted/publishQuota",
              {"publishThrottlingRateInMsg": QUOTA, "publishThrottlingRateInByte": -1})
    for name, limit in (("messages", {"messages": MESSAGES}), ("bytes", {"bytes_": BYTES})):
        broker.ok("PUT", f"/{harness.rest_path(NAME + name)}")
        broker.set_rate(NAME + name, **limit)
    exact = [NAME + "messages", NAME + "bytes", *QUOTED]
    for t in exact:
        keep(admin, t)
    ledger = {t: broker.ok("GET", f"/{harness.rest_path(t)}/lastMessageId")["ledgerId"] for t in exact}

    watch = Watch(broker)
    free = NAME + "free"
    tasks = [watch.task,
             Task(reader_of(connect(broker), free, "exclusive", pulsar.ConsumerType.Exclusive)),
             Task(reader_of(connect(broker), free, "shared", pulsar.ConsumerType.Shared)),
             Task(reader_of(connect(broker), free, "shared", pulsar.ConsumerType.Shared)),
             Task(reader_of(connect(broker), NAME + "batched", "slow", pulsar.ConsumerType.Shared, 0.002)),
             Task(reader_of(connect(broker), NAME + "messages", "limited", pulsar.ConsumerType.Exclusive)),
             Task(comes_and_goes(broker, free), 0.2),
             Task(makes_and_deletes(broker, connect(broker)), 0.2),
             Task(polls(broker), 0.2)]
    loads = [Load(connect(broker), free, body=b"x" * 2000, pace=500, batching_enabled=False),
             Load(connect(broker), NAME + "batched", pace=400, batching_enabled=True),
             Load(connect(broker), NAME + "messages", batching_enabled=False),
             Load(connect(broker), NAME + "bytes", batching_enabled=False),
             *(Load(connect(broker), t, batching_enabled=False) for t in QUOTED)]
    time.sleep(SECS)

    end_ns, end_s = time.time_ns() - NS, time.monotonic() - watch.begin
    for load in loads:
        load.stopping = True
    broker.ok("DELETE", "/namespaces/public/quoted/publishQuota")
    for t in exact[:2]:
        broker.ok("DELETE", f"/{harness.rest_path(t)}/publishRate")
    for load in loads:
        load.stop()
    for task in tasks:
        task.stop()

    warm, last = watch.around(WARM_UP_S, WARM_UP_S + WINDOW_S / 2), watch.around(end_s - WINDOW_S / 2, end_s)
    print(f"sent {sum(load.sent for load in loads)}; steps {[t.steps for t in tasks]}")
    print(f"resident: {warm[0] / (1 << 20):.1f} MiB after the warm-up, {last[0] / (1 << 20):.1f} MiB at the end; "
          f"descriptors: {warm[1]:.0f}, {last[1]:.0f}")
    rows = [{**r, "bytes": r["bytes"] - SIZE_FIELD} for r in broker.stored()]
    check_exact(rows, [ledger[NAME + "messages"]], MESSAGES, "messages", end_ns)
    check_exact(rows, [ledger[NAME + "bytes"]], BYTES, "bytes", end_ns)
    check_exact(rows, [ledger[t] for t in QUOTED], QUOTA, "messages", end_ns)
    assert last[0] <= warm[0] * (1 + GROWTH) + GROWTH_BYTES
    assert last[1] <= warm[1] + DESCRIPTORS
    errors = re.findall(r"^\S+ error .*", broker.log(), re.M)
    assert not errors, errors[:10]
