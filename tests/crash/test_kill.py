"""kill -9 at random moments under load (ROUNDS rounds, seed SEED, WORKERS workers): every acknowledged message is there
after the restart, in order; what is there twice was unacknowledged at a kill and sent again; cursors are at most a
second behind. Each topic's publisher and follower are on different connections, and so on different workers."""
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
TOPICS = 4
BEHIND_S = 1.5  # cursors are written every second; the client sends acknowledgements every 0.1 s


class Publisher(threading.Thread):
    """Publishes 0, 1, 2... to one topic until stop()."""

    def __init__(self, client, topic, batching):
        super().__init__(daemon=True)
        self.producer = client.create_producer(topic, batching_enabled=batching, send_timeout_millis=0,
                                               batching_max_publish_delay_ms=2, max_pending_messages=200,
                                               block_if_queue_full=True)
        self.topic, self.sent, self.acknowledged, self.failures, self.stopping = topic, 0, set(), [], False
        self.unsure = []  # (first number not acknowledged, first number not sent) at each kill
        self.start()

    def run(self):
        while not self.stopping:
            number = self.sent

            def done(result, _, number=number):
                self.acknowledged.add(number) if result == pulsar.Result.Ok else self.failures.append(result)

            self.producer.send_async(b"%d" % number, done)
            self.sent += 1
            time.sleep(0.0005)

    def note_kill(self, before):
        """`before`: how many were acknowledged, in order, some time before the kill."""
        self.unsure.append((before, self.sent + 1))

    def acknowledged_in_order(self):
        start = self.unsure[-1][0] if self.unsure else 0
        return next(n for n in itertools.count(start) if n not in self.acknowledged)


class Follower(threading.Thread):
    """Reads a topic and acknowledges; finds what comes again though it was acknowledged long before a kill."""

    def __init__(self, client, topic):
        super().__init__(daemon=True)
        self.consumer = client.subscribe(topic, "follower", pulsar.ConsumerType.Shared,
                                         initial_position=pulsar.InitialPosition.Earliest)
        self.acknowledged, self.kills, self.too_old, self.stopping = {}, [], [], False
        self.start()

    def run(self):
        while not self.stopping:
            try:
                m = self.consumer.receive(200)
            except pulsar.Timeout:
                continue
            number, now = int(m.data()), time.monotonic()
            before = self.acknowledged.get(number)
            if before and any(before < kill - BEHIND_S and now > kill for kill in list(self.kills)):
                self.too_old.append(number)
            self.acknowledged[number] = now  # an earlier one may have been lost in a crash that came at once
            try:
                self.consumer.acknowledge(m)
            except pulsar.PulsarException:
                self.acknowledged.pop(number, None)  # it is disconnected just now


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
@pytest.mark.limit(100 + 20 * ROUNDS)
def test_nothing_acknowledged_is_lost(make_broker, connect):
    print(f"SEED={SEED} ROUNDS={ROUNDS} WORKERS={harness.WORKERS}")
    choose = random.Random(SEED)
    broker = make_broker("--broker-port", str(PORT), config={"tidegateSegmentSizeMB": 8})
    clients = [connect(broker) for _ in range(TOPICS)]
    client = clients[0]
    topics = [f"persistent://public/default/crash-{i}" for i in range(TOPICS)]
    for t in topics:  # a subscription that acknowledges nothing keeps everything
        client.subscribe(t, "keeper", initial_position=pulsar.InitialPosition.Earliest).close()
    publishers = [Publisher(clients[i], t, batching=i == 1) for i, t in enumerate(topics)]
    followers = [Follower(clients[i - 1], t) for i, t in enumerate(topics)]
    for _ in range(ROUNDS):
        time.sleep(choose.uniform(0.05, 2.0))
        before = [p.acknowledged_in_order() for p in publishers]
        for f in followers:
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
    for p in publishers:
        check(p, read_all(client, p.topic))
    print("published", [p.sent for p in publishers])
    for f, p in zip(followers, publishers):
        harness.wait_for(lambda f=f, p=p: len(f.acknowledged) == p.sent, 30, "the rest at the follower")
        f.stopping = True
        f.join(10)
        assert not f.too_old, f"delivered again though acknowledged long before: {f.too_old[:20]}"
