#!/usr/bin/env python3
"""make bench-pulsar: the broker next to Apache Pulsar standalone, loaded by the same client program.

Both servers are up, pinned to the first CPU; the load is on the last one and works on one of them at a
time, in interleaved rounds, each run on a topic of its own. There are two parts: `--durability os`
beside Pulsar's default, which answers before its journal is synced, and `--durability sync` beside
Pulsar with journalSyncData=true. CPU time is the server's process with all its threads, in user and
kernel, from the clock that the scheduler keeps of it. Before a part is measured Pulsar's JVM is
warmed up: each kind of load is run until two more runs no longer take less CPU per message.

Prints a table in Markdown; writes build/bench/pulsar.txt and pulsar.json. Stops by itself after 15
minutes; whatever ends it, no server stays behind. Python's standard library only.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

from harness import ALL_CPUS, LOAD_CPU, OUT, ROOT, SERVER_CPU, Bench, Failed, Server, topic_path

END_AFTER_S = 900
READY_WITHIN_S = 120
WARM_RUNS = 10  # of each kind of load, at the most
WARM = 0.97     # two runs that take more than this of the least CPU before them: nothing more to gain
BACKLOG = 100_000
BACKLOG_WITHIN_S = 60
STARTS = 3
# Pulsar's Java client writes what it has with one write, the others each message with its own.
SATURATED = {"unbatched": "window=1000", "unbatched, a write each": "window=1000,writes=each",
             "batches of 64": "window=64,batch=64"}
PACED = {"2 k/s unbatched": "window=1000,rate=2000",
         "10 k/s in batches of 10": "window=1000,batch=10,rate=10000"}
GOALS = {"os": {"unbatched": 6, "unbatched, a write each": 6, "batches of 64": 10},
         "sync": {"unbatched": 10, "unbatched, a write each": 10, "batches of 64": 10}}
DRAIN_GOAL = 15
CPU, RATE = "CPU-seconds a million messages", "messages/s"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Pulsar(Server):
    """Apache Pulsar standalone, from where it says that it is healthy to its end."""

    def __init__(self, durability, cpus=SERVER_CPU):  # pylint: disable=super-init-not-called
        self.port, web, bookie = free_ports(3)
        self.web = f"http://127.0.0.1:{web}"
        begin = self.spawn([str(ROOT / "tools/pulsar-reference"), "{dir}",
                            f"brokerServicePort={self.port}", f"webServicePort={web}",
                            f"journalSyncData={str(durability == 'sync').lower()}"],
                           cpus, BOOKIE_PORT=str(bookie))
        try:
            while not self.is_healthy():
                if self.process.poll() is not None or time.monotonic() > begin + READY_WITHIN_S:
                    self.give_up()
                time.sleep(0.02)
        except BaseException:  # also: told to stop
            self.stop()
            raise
        self.ready_s = time.monotonic() - begin

    def is_healthy(self):
        try:
            with urllib.request.urlopen(self.web + "/admin/v2/brokers/health", timeout=10) as answer:
                return answer.read() == b"ok"
        except OSError:  # not there yet, or an HTTP status that is none
            return False

    def give_up(self):
        log = pathlib.Path(self.dir, "pulsar.log")
        if log.exists():
            shutil.copy(log, OUT)
        raise Failed(f"Pulsar did not get ready (see {OUT / 'pulsar.log'} and server.log)")


class Comparison(Bench):
    """Collects rows: what the broker gets, what Pulsar gets, how many times better that is."""

    def __init__(self, args):
        super().__init__(args)
        self.topics = 0

    def new_topic(self):
        self.topics += 1
        return f"bench-{self.topics}"

    def publish(self, server, group, **more):
        os.sync()
        spec = f"{group},topic=persistent://public/default/{self.new_topic()}"
        return self.load(server, "--lookup", "--group", spec, **more)

    def drain(self, server, count):
        """Publishes a backlog; then measures its consumption."""
        topic = self.new_topic()
        spec = f"topic=persistent://public/default/{topic},frames={count}"
        server.admin("PUT", topic_path(topic))
        server.admin("PUT", topic_path(topic) + "/subscription/load")
        self.load(server, "--lookup", "--group", "window=1000," + spec, seconds=BACKLOG_WITHIN_S)
        os.sync()
        return self.load(server, "--lookup", "--group", "consumers=1," + spec,
                         seconds=BACKLOG_WITHIN_S)

    def warm_up(self, server, what, run):
        """Runs until the JVM has nothing more to gain."""
        took = []
        while len(took) < WARM_RUNS and (len(took) < 4 or min(took[-2:]) < WARM * min(took[:-2])):
            took.append(run(server)["target_cpu_ns_per_message"] / 1000)
        self.say(f"Pulsar warmed up, {what}: {' '.join(f'{t:.1f}' for t in took)} {CPU}")

    def pair(self, name, tidegate, pulsar, run):
        return self.rounds(name, {"tidegate": lambda: run(tidegate), "pulsar": lambda: run(pulsar)})

    def add(self, name, unit, ours, theirs, goal=None, more_is_better=False):
        times = [a / b if more_is_better else b / a for a, b in zip(ours, theirs)]
        self.rows.append({"row": name, "unit": unit, "tidegate": ours, "pulsar": theirs,
                          "times": times, "goal": goal,
                          "met": None if goal is None else statistics.median(times) >= goal})

    def add_cpu(self, name, r, goal=None):
        cpu = {k: [x["target_cpu_ns_per_message"] / 1000 for x in v] for k, v in r.items()}
        self.add(name, CPU, cpu["tidegate"], cpu["pulsar"], goal)

    def table(self):
        lines = ["| | unit | Tidegate | Pulsar | times better | goal |", "|---|---|---|---|---|---|"]
        for r in self.rows:
            goal = "" if r["goal"] is None else f"{r['goal']}, {'met' if r['met'] else 'missed'}"
            lines.append(f"| {r['row']} | {r['unit']} | {spread(r['tidegate'])} | "
                         f"{spread(r['pulsar'])} | {spread(r['times'])} | {goal} |")
        return "\n".join(lines)


def short(value):
    """Three digits, or all before the point."""
    if abs(value) >= 10_000:
        return f"{value / 1000:.0f} k"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values):
    middle = short(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({short(min(values))}..{short(max(values))})"


# ---- rows ----

def saturated(b, name, group, tidegate, pulsar, goal):
    """As many messages as the window lets. Where it is the load that can't do more, the broker is not
    busy all the time: so what is compared is CPU time per message."""
    r = b.pair(name, tidegate, pulsar, lambda server: b.publish(server, group))
    b.add_cpu("publish " + name, r, goal)
    rate = {k: [x["messages_per_s"] for x in v] for k, v in r.items()}
    b.add("publish " + name, RATE, rate["tidegate"], rate["pulsar"], more_is_better=True)


def paced(b, name, group, tidegate, pulsar):
    r = b.pair(name, tidegate, pulsar, lambda server: b.publish(server, group))
    for key in ("p50", "p99"):
        ms = {k: [x["groups"][0][key + "_us"] / 1000 for x in v] for k, v in r.items()}
        b.add(f"publish {name}, {key}", "ms to the receipt", ms["tidegate"], ms["pulsar"])
    b.add_cpu("publish " + name, r)


def rss(b, name, tidegate, pulsar):
    b.add(name, "MB", [tidegate.rss_kb() / 1000], [pulsar.rss_kb() / 1000])


def drain(b, tidegate, pulsar):
    b.warm_up(pulsar, "drain", lambda server: b.drain(server, BACKLOG // 2))
    r = b.pair("drain", tidegate, pulsar, lambda server: b.drain(server, BACKLOG))
    b.add_cpu("drain an unbatched backlog", r, DRAIN_GOAL)


def part(b, durability):
    """All that is measured of one pair of servers."""
    mark = "" if durability == "os" else ", synced"
    with Pulsar(durability) as pulsar, b.broker(durability) as tidegate:
        time.sleep(3)
        if durability == "os":
            rss(b, "resident memory, idle", tidegate, pulsar)
        for name in ("unbatched", "batches of 64"):
            b.warm_up(pulsar, name + mark, lambda server, g=SATURATED[name]:
                      b.publish(server, g, seconds=4))
        for name, group in SATURATED.items():
            saturated(b, name + mark, group, tidegate, pulsar, GOALS[durability][name])
        for name, group in PACED.items():
            paced(b, name + mark, group, tidegate, pulsar)
        if durability == "os":
            drain(b, tidegate, pulsar)
            rss(b, "resident memory after all that", tidegate, pulsar)


def starts(b):
    """On all CPUs, for both."""
    def ready_s(start):
        with start() as server:
            return server.ready_s
    r = b.rounds("starts", {"tidegate": lambda: ready_s(lambda: b.broker("os", cpus=ALL_CPUS)),
                            "pulsar": lambda: ready_s(lambda: Pulsar("os", ALL_CPUS))}, STARTS)
    b.add("start to ready, empty directory", "s", r["tidegate"], r["pulsar"])


# ---- the whole ----

def parse_args():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--broker", default=str(ROOT / "build/tidegate"))
    p.add_argument("--load", default=str(ROOT / "build/release/bench/load"))
    p.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "5")),
                   help="interleaved rounds (env ROUNDS; 5)")
    p.add_argument("--seconds", type=float, default=3.0)
    p.add_argument("--warmup", type=float, default=0.5, help="of each run")
    p.set_defaults(against_itself=False)
    return p.parse_args()


def stop(number, _frame):
    raise Failed("15 minutes are over" if number == signal.SIGALRM else "told to stop")


def main():
    args = parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    for left in OUT.glob("data-*"):  # by a run that was killed: gigabytes, perhaps
        shutil.rmtree(left)
    (OUT / "server.log").write_text("")
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    signal.alarm(END_AFTER_S)
    b = Comparison(args)
    failure = None
    try:
        starts(b)
        part(b, "os")
        part(b, "sync")
    except (Failed, OSError, subprocess.SubprocessError) as e:
        failure = str(e)
    text = (f"{b.table()}\n\n{args.rounds} rounds of {args.seconds:g} s: median (least..most). The servers "
            f"on CPU {SERVER_CPU}, the load on CPU {LOAD_CPU}; 1 KB messages, one connection, one producer.")
    print(text)
    (OUT / "pulsar.txt").write_text(text + "\n")
    (OUT / "pulsar.json").write_text(json.dumps(
        {"rows": b.rows, "failure": failure, "rounds": args.rounds,
         "load_average": os.getloadavg()}, indent=1) + "\n")
    if failure:
        sys.exit(f"bench-pulsar: {failure}")


if __name__ == "__main__":
    main()
