"""Many clients that misbehave at once, and what is watched meanwhile: the broker's memory, and others that behave."""
import socket
import threading
import time

import harness
import raw

MIB = 1 << 20


class Publisher(threading.Thread):
    """Behaves: one small message at a time, each after the receipt of the one before. `waits`: seconds for each."""

    def __init__(self, connection, topic):
        super().__init__(daemon=True)
        self.connection, self.topic, self.waits, self.problem, self.stopping = connection, topic, [], None, False
        connection.create_producer(topic)
        self.start()

    def run(self):
        try:
            while not self.stopping:
                begin = time.monotonic()
                self.connection.write(raw.send(len(self.waits), b"x" * 1000))
                self.connection.expect(raw.SEND_RECEIPT, 20 * harness.SLOWNESS)
                self.waits.append(time.monotonic() - begin)
                time.sleep(0.01)
        except Exception as e:  # told by stop(), in the test's thread
            self.problem = e

    def stop(self):
        self.stopping = True
        self.join(30 * harness.SLOWNESS)
        assert self.problem is None, f"{self.topic} after {len(self.waits)} messages: {self.problem!r}"
        self.connection.close()


class Watch:
    """with Watch(broker, memory): a publisher per worker goes on meanwhile with bounded waits, and what the broker has
    resident stays below `memory` (release builds: sanitizers need memory of their own)."""
    OFTEN_S, MOST_S = 0.5, 3  # what half, and each, of the sends may take, on a machine that does other things, too
    PUBLISHERS = 2

    def __init__(self, broker, memory):
        self.broker, self.memory, self.most, self.stopping = broker, memory, 0, False

    def __enter__(self):
        self.publishers = [Publisher(raw.Connection(self.broker), f"persistent://public/default/good-{i}")
                           for i in range(self.PUBLISHERS)]
        self.thread = threading.Thread(target=self._measure, daemon=True)
        self.thread.start()
        return self

    def _measure(self):
        while not self.stopping:
            self.most = max(self.most, self.broker.memory_bytes())
            time.sleep(0.03)

    def __exit__(self, kind, *_):
        self.stopping = True
        self.thread.join()
        if kind:
            return
        for p in self.publishers:
            p.stop()
            waits = sorted(p.waits)
            print(f"{p.topic}: {len(waits)} sends, median {waits[len(waits) // 2]:.4f} s, longest {waits[-1]:.3f} s")
            assert waits[len(waits) // 2] < self.OFTEN_S * harness.SLOWNESS, p.topic
            assert waits[-1] < self.MOST_S * harness.SLOWNESS, p.topic
        print(f"resident at most {self.most / MIB:.1f} MiB")
        if harness.VARIANT == "release":
            assert self.most < self.memory, f"{self.most / MIB:.1f} MiB resident"


def connect_many(broker, count, data=raw.connect()):
    """Plain sockets that have sent `data`; nothing is read yet."""
    sockets = []
    for _ in range(count):
        s = socket.create_connection((broker.host, broker.port), timeout=20 * harness.SLOWNESS)
        if data:
            s.sendall(data)
        sockets.append(s)
    return sockets


def push(s, data, seconds=0.02):
    """Writes until the broker has taken it, or takes no more for so long, or closes."""
    s.settimeout(seconds)
    try:
        s.sendall(data)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass


def on_worker(broker, count, other_than_first):
    """`count` connections (handshake done) of a worker of two. Connections go round them: the first one of a broker,
    and every second after it, is on one, those between on the other. Call it when an even number is open."""
    pairs = [(raw.Connection(broker), raw.Connection(broker)) for _ in range(count)]
    for pair in pairs:
        pair[0 if other_than_first else 1].close()
    return [pair[1 if other_than_first else 0] for pair in pairs]
