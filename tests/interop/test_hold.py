"""A producer over its limit is stopped at its client: what an unmodified Python client, and its neighbour on the same
connection, see of it. Nothing is lost, doubled or out of order; who is held is refused no message."""
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
