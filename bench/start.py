#!/usr/bin/env python3
"""How long `tidegate standalone` takes to its ready line with many topics and much log.

Fills a data directory through the broker: TOPICS topics, each with a subscription that keeps
everything, MB megabytes of messages in all. Then starts it again and again: after SIGTERM and after
kill -9, with the page cache as it is and, as root, dropped. Prints the median of each with the
least and the most, and how long reading all of it takes `store verify`.

    bench/start.py [--topics 10000] [--mb 1000] [--rounds 5] [--durability sync] [--keep DIR]
"""
import argparse
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import harness  # noqa: E402  (after the path is set)
import raw  # noqa: E402

AT_A_TIME = 500  # requests before their answers are awaited
PER_CONNECTION = 2000


def in_turns(connection, requests, answer):
    """Sends all of `requests` and awaits as many of `answer`, a number of them under way at a time."""
    waiting = 0
    for request in requests:
        connection.write(request)
        waiting += 1
        if waiting == AT_A_TIME:
            for _ in range(waiting):
                connection.expect(answer, 120)
            waiting = 0
    for _ in range(waiting):
        connection.expect(answer, 120)


def topic(number):
    return f"persistent://public/default/start-{number}"


def fill(broker, topics, size):
    body = raw.payload({1: "filler", 2: 0, 3: int(time.time() * 1000)}, b"x" * size)
    for first in range(0, topics, PER_CONNECTION):
        numbers = range(first, min(first + PER_CONNECTION, topics))
        with raw.Connection(broker, seconds=120) as c:
            in_turns(c, (raw.subscribe(topic(n), "keeper", n, n) for n in numbers), raw.SUCCESS)
            in_turns(c, (raw.producer(topic(n), n, n) for n in numbers), raw.PRODUCER_SUCCESS)
            in_turns(c, (raw.frame(raw.SEND, {1: n, 2: 0}, body) for n in numbers), raw.SEND_RECEIPT)


def drop_caches():
    try:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
            f.write("3\n")
        return True
    except OSError:
        return False


def timed_start(broker):
    begin = time.monotonic()
    broker.start()
    return time.monotonic() - begin


def measure(broker, rounds, crash, cold):
    """Seconds of each start; None: the caches can't be dropped here."""
    times = []
    for _ in range(rounds):
        if crash:
            broker.kill()
        else:
            code = broker.stop()
            assert code == 0, broker.log_tail()
        if cold and not drop_caches():
            timed_start(broker)
            return None
        times.append(timed_start(broker))
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=10000)
    parser.add_argument("--mb", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--durability", default="sync")
    parser.add_argument("--keep", metavar="DIR", help="fill this directory, or take it as it is; keep it")
    args = parser.parse_args()
    root = pathlib.Path(args.keep or tempfile.mkdtemp(prefix="start-", dir=ROOT / "build"))
    root.mkdir(parents=True, exist_ok=True)
    there = (root / "data").exists()
    broker = harness.Broker(root / "data", ["--durability", args.durability])
    try:
        broker.start()
        if not there:
            begin = time.monotonic()
            fill(broker, args.topics, args.mb * 1_000_000 // args.topics)
            print(f"filled in {time.monotonic() - begin:.1f} s", file=sys.stderr)
        for crash in False, True:
            for cold in False, True:
                times = measure(broker, args.rounds, crash, cold)
                how = f"{'kill -9' if crash else 'SIGTERM'}, {'cold' if cold else 'warm'}"
                print(f"{how:14}" + (f"{statistics.median(times) * 1000:6.0f} ms ({min(times) * 1000:.0f}.."
                                     f"{max(times) * 1000:.0f})" if times else "  not measured: needs root"), flush=True)
        print(f"memory        {broker.memory_bytes() / 1e6:6.1f} MB resident")
        broker.stop()
        begin = time.monotonic()
        result = harness.run("store", "verify", "--data-dir", broker.data_dir, seconds=600)
        print(f"store verify  {(time.monotonic() - begin) * 1000:6.0f} ms: {result.stdout.strip()}")
    finally:
        if broker.process and broker.process.poll() is None:
            broker.kill()
        if not args.keep:
            shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
