"""kill -9 at random moments under load (ROUNDS rounds, seed SEED, WORKERS workers): every acknowledged message is
there after the restart, in order; what is there twice was unacknowledged at a kill and sent again; cursors are at most
a second behind, and what a consumer did not acknowledge comes again.

One more topic has large messages and nobody who keeps them: what is kept of the others is little beside them, so that
segments are recycled and copied forward all the while.

Publishers and consumers of a topic are on connections of their own, so that with several workers they are on
different ones."""
import collections
import itertools
import os
import random
import threading
import time

import harness
import pulsar
import pytest

ROUNDS = int(os.environ.get("ROUNDS", "20"))
SEED = int(os.environ.get("SEED", str(time.time_ns() % 1000000)))
PORT = 28650 + os.getpid() % 1000
TOPICS = 3
SMALL_SEGMENTS = {"tidegateSegmentSizeMB": 1, "maxMessageSize": 262144}
LARGE = b" " * 2500
LEAVE_EVERY, LEAVE_MOST = 97, 500  # a cursor's row holds so many gaps with ease
BEHIND_S = 1.5  # cursors are written every second; the client sends acknowledgements every 0.1 s


class Publisher(threading.Thread):
    """Publishes 0, 1, 2... to one topic until stop()."""

    def __init__(self, client, topic, batching, padding=b""):
        super().__init__(daemon=True)
        self.producer = client.create_producer(topic, batching_enabled=batching, send_timeout_millis=0,
                                               batching_max_publish_delay_ms=2, max_pending_messages=200,
                                               block_if_queue_full=True)
        self.topic, self.batching, self.padding, self.sent, self.stopping = topic, batching, padding, 0, False
        self.acknowledged, self.failures = set(), []
        self.unsure = []  # (first number not acknowledged, first number not sent) at each kill
        self.start()

    def run(self):
        while not self.stopping:
            number = self.sent

            def done(result, _, number=number):
                self.acknowledged.add(number) if result == pulsar.Result.Ok else self.failures.append(result)

            self.producer.send_async(b"%d" % number + self.padding, done)
            self.sent += 1
            time.sleep(0.0005)

    def note_kill(self, before):
        """`before`: how many were acknowledged, in order, some time before the kill."""
        self.unsure.append((before, self.sent + 1))

    def acknowledged_in_order(self):
        start = self.unsure[-1][0] if self.unsure else 0
        return next(n for n in itertools.count(start) if n not in self.acknowledged)


class Follower(threading.Thread):
    """Reads a topic and acknowledges; finds what comes again though it was acknowledged long before a kill. With
    `leaves` it never acknowledges a few (not of a batch: that comes again as a whole)."""

    def __init__(self, client, topic, name, kind, leaves=False):
        super().__init__(daemon=True)
        self.consumer = client.subscribe(topic, name, kind, initial_position=pulsar.InitialPosition.Earliest)
        self.client, self.topic, self.name_, self.kind, self.leaves = client, topic, name, kind, leaves
        self.acknowledged, self.left, self.kills, self.too_old, self.stopping = {}, set(), [], [], False
        self.start()

    def leave(self, number):
        if self.leaves and number % LEAVE_EVERY == 0 and len(self.left) < LEAVE_MOST:
            self.left.add(number)
        return number in self.left

    def run(self):
        while not self.stopping:
            try:
                m = self.consumer.receive(200)
            except pulsar.Timeout:
                continue
            number, now = int(m.data().split()[0]), time.monotonic()
            if self.leave(number):
                continue
            before = self.acknowledged.get(number)
            if before and any(before < kill - BEHIND_S and now > kill for kill in list(self.kills)):
                self.too_old.append(number)
            self.acknowledged[number] = now  # an earlier one may have been lost in a crash that came at once
            try:
                self.consumer.acknowledge(m)
            except pulsar.PulsarException:
                self.acknowledged.pop(number, None)  # it is disconnected just now

    def finish(self, sent):
        """Everything came; once cursors are written, what was left comes again, and nothing else."""
        harness.wait_for(lambda: len(self.acknowledged) + len(self.left) == sent, 30, f"the rest at {self.name_}")
        time.sleep(BEHIND_S)
        self.stopping = True
        self.join(10)
        assert not self.too_old, f"{self.name_}: again though acknowledged long before: {self.too_old[:20]}"
        self.consumer.close()
        self.consumer = self.client.subscribe(self.topic, self.name_, self.kind)
        again = set()
        try:
            while True:
                again.add(int(self.consumer.receive(1000).data().split()[0]))
        except pulsar.Timeout:
            pass
        assert again == self.left, f"{self.name_}: lost {sorted(self.left - again)[:20]}, " \
                                   f"again {sorted(again - self.left)[:20]}"


def read_all(client, topic):
    reader = client.create_reader(topic, pulsar.MessageId.earliest)
    numbers = []
    while reader.has_message_available():
        numbers.append(int(reader.read_next(20000).data()))
    reader.close()
    return numbers


def check(publisher, numbers):
    """The history of one topic against what its publisher knows."""
    missing = sorted(publisher.acknowledged - set(numbers))
    assert not missing, f"{publisher.topic}: acknowledged and gone: {missing[:20]}"
    first_times = list(dict.fromkeys(numbers))
    assert first_times == list(range(len(first_times))), f"{publisher.topic}: out of order, or a gap"
    for n, times in collections.Counter(numbers).items():
        allowed = 1 + sum(low <= n < high for low, high in publisher.unsure)
        assert times <= allowed, f"{publisher.topic}: {n} is there {times} times"


@pytest.mark.slow
@pytest.mark.limit(200 + 20 * ROUNDS)
def test_nothing_acknowledged_is_lost(make_broker, connect):
    print(f"SEED={SEED} ROUNDS={ROUNDS} WORKERS={harness.WORKERS}")
    choose = random.Random(SEED)
    broker = make_broker("--broker-port", str(PORT), config=SMALL_SEGMENTS)
    client = connect(broker)
    topics = [f"persistent://public/default/crash-{i}" for i in range(TOPICS)]
    for t in topics:  # a subscription that acknowledges nothing keeps everything
        client.subscribe(t, "keeper", initial_position=pulsar.InitialPosition.Earliest).close()
    publishers = [Publisher(connect(broker), t, batching=i == 1) for i, t in enumerate(topics)]
    flow = Publisher(connect(broker), "persistent://public/default/flow", False, LARGE)
    publishers.append(flow)
    followers = [(p, Follower(connect(broker), p.topic, name, kind, leaves)) for p in publishers
                 for name, kind, leaves in [("shared", pulsar.ConsumerType.Shared, False),
                                            ("leaver", pulsar.ConsumerType.Shared, not p.batching and p != flow),
                                            ("exclusive", pulsar.ConsumerType.Exclusive, False)]]
    for _ in range(ROUNDS):
        time.sleep(choose.uniform(0.05, 2.0))
        before = [p.acknowledged_in_order() for p in publishers]
        for _, f in followers:
            f.kills.append(time.monotonic())
        broker.kill()
        for p, n in zip(publishers, before):
            p.note_kill(n)
        broker.start()
    for p in publishers:
        p.stopping = True
    for p in publishers:
        p.join(30)
        p.producer.flush()
        assert not p.failures, p.failures[:5]
        assert len(p.acknowledged) == p.sent
    for p in publishers[:TOPICS]:
        check(p, read_all(client, p.topic))
    print("published", [p.sent for p in publishers])
    for p, f in followers:
        f.finish(p.sent)
    broker.stop()
    print(broker.cli("store", "verify", "--data-dir", str(broker.data_dir)).stdout)
