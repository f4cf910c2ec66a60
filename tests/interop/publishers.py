"""What publishes more than a limit lets pass: the official Python client, and where that is too slow the C generator.
Both note what was acknowledged."""
import contextlib
import json
import pathlib
import subprocess
import threading

import harness
import pulsar

GENERATOR = pathlib.Path(harness.TIDEGATE).resolve().parent / "bench/load"
DRAIN_S = 20


@contextlib.contextmanager
def clients_of(broker, count):
    """So many clients: each is a connection."""
    logger = pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
    clients = [pulsar.Client(broker.url, logger=logger, operation_timeout_seconds=20) for _ in range(count)]
    try:
        yield clients
    finally:
        for c in clients:
            with contextlib.suppress(pulsar.PulsarException):
                c.close()


class PythonPublisher:
    """Keeps <window> messages outstanding until stop(): each acknowledgement sends the next."""

    def __init__(self, client, topic, size, batch, window):
        self.topic, self.window, self.body = topic, window, b"x" * size
        self.stopping, self.outstanding, self.failures = False, 0, []
        self.entries, self.acknowledged = set(), 0
        self.quiet, self.lock = threading.Event(), threading.Lock()
        self.producer = client.create_producer(
            topic, send_timeout_millis=0, max_pending_messages=window + 1, batching_enabled=batch > 1,
            batching_max_messages=max(batch, 2), batching_max_publish_delay_ms=5)

    def start(self):
        self.outstanding = self.window
        for _ in range(self.window):
            self.producer.send_async(self.body, self.done)

    def done(self, result, message_id):
        with self.lock:
            if result == pulsar.Result.Ok:
                self.acknowledged += 1
                self.entries.add((message_id.ledger_id(), message_id.entry_id()))
            else:
                self.failures.append(result)
            stopping = self.stopping
            self.outstanding -= stopping
        if not stopping:
            self.producer.send_async(self.body, self.done)
        elif self.outstanding == 0:
            self.quiet.set()

    def stop(self):
        with self.lock:
            self.stopping = True

    def wait(self):
        """After stop(), and when it is no longer limited: until nothing is outstanding."""
        assert self.quiet.wait(DRAIN_S), f"{self.topic}: {self.outstanding} were never acknowledged"
        assert not self.failures, self.failures[:5]


class Generator:
    """One process for several groups of producers, each one on a connection by its number."""

    def __init__(self, broker, connections, seconds, warmup):
        self.command = [str(GENERATOR), "--port", str(broker.port), "--connections", str(connections), "--drain", str(DRAIN_S),
                        "--client-version", "Pulsar-CPP-v4.2.0", "--duration", str(seconds), "--warmup", str(warmup)]
        self.result = None

    def add(self, name, topic, connection, size, batch, window):
        self.command += ["--group", f"name={name},topic={topic},first={connection},conns=1,size={size},batch={batch},"
                                    f"window={max(1, window // batch)}"]

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)

    def wait(self, seconds):
        out, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode == 0
        self.result = {g["name"]: g for g in json.loads(out)["groups"]}
