"""Runs the client programs of other languages (clients/README.md) and compares what they say with what is stored."""
import json
import os
import pathlib
import re
import subprocess
import threading

import harness
import pulsar

FOLDER = pathlib.Path(__file__).parents[2] / "build/clients"
KNOWN = ("go-0.9.0", "go-0.13.1", "go-0.16.0", "go-0.21.0", "java-4.0.7")
NAMES = os.environ.get("CLIENTS", "").split() or KNOWN


def why_not(name):
    """Why there is no such client to run, or None."""
    reason = FOLDER / f"{name}.skipped"
    if reason.exists():
        return reason.read_text().strip()
    return None if (FOLDER / name).exists() else f"{name} is not built (make interop-clients builds it)"


def numbers(runs):
    return [n for first, last in runs for n in range(first, last + 1)]


class Client:
    """A client program at work. Words are those of its command line: Client("go-0.21.0", url, topic, window=2000)."""

    def __init__(self, name, broker, topic, log_path, **words):
        self.name, self.log_path = name, log_path
        line = [str(FOLDER / name), "--url", broker.url, "--topic", topic]
        for word, value in words.items():
            line += ["--" + word.replace("_", "-"), str(value)]
        self.log = open(log_path, "ab")
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        stdin=subprocess.DEVNULL)
        self.log.close()
        first = self.process.stdout.readline()
        assert first and json.loads(first) == {"ready": True}, f"{name} did not start: {self.log_text()[-3000:]}"

    def report(self, seconds=100):
        """Waits for its end."""
        killer = threading.Timer(seconds * harness.SLOWNESS, self.process.kill)
        killer.start()
        last = self.process.stdout.read()
        killer.cancel()
        code = self.process.wait()
        self.process.stdout.close()
        assert code == 0, f"{self.name} ended with {code}: {self.log_text()[-3000:]}"
        return json.loads(last.splitlines()[-1])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def log_text(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")


def body(counter, size):
    """The message that the client programs send."""
    head = b"%d " % counter
    return head + bytes(97 + (counter + i + i // 256) % 26 for i in range(len(head), size))


def stored(connect, broker, topic):
    """Counters of all messages of a topic, in the order in which they are stored; whole ones."""
    reader = connect(broker).create_reader(topic, pulsar.MessageId.earliest, receiver_queue_size=5000)
    counters = []
    while reader.has_message_available():
        data = reader.read_next(20000).data()
        counters.append(int(re.match(rb"(\d+) ", data)[1]))
    reader.close()
    return counters


def compare(report, counters):
    """No loss, no duplicate, no other order: what callbacks called good is stored, each once, in order; what is stored
    beside it is what the client gave up, or had no answer for when it ended."""
    ok = numbers(report["ok"])
    print(f"sent {report['sent']}, ok {len(ok)}, stored {len(counters)}, failures {report['failures']}, "
          f"pending {report['pending']}, {report['ms']}")
    assert len(set(ok)) == len(ok), "two callbacks for one message"
    assert not set(ok) - set(counters), f"lost: {sorted(set(ok) - set(counters))[:10]}"
    assert len(set(counters)) == len(counters), f"duplicates: {len(counters) - len(set(counters))}"
    broken = [(a, b) for a, b in zip(counters, counters[1:]) if b <= a]
    assert not broken, f"order: {broken[:10]}"
    beside = set(counters) - set(ok)
    assert len(beside) <= sum(report["failures"].values()) + report["pending"]
    return ok
