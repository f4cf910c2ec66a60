#!/usr/bin/env python3
"""make bench-peers: Apache Pulsar's AsyncTokenBucket and the limiter here, in the same loops.

Four variants: the class as it ships today and in its fastest form, each in a JVM of its own that has
run every loop before it is measured, and the limiter with the clock of either. Within a round each
loop is run by all variants in turn, each round in another order; a figure is the median of the
rounds, with the least and the most, a ratio the median of the rounds' ratios. Only one of the
programs works at a time. Threads that do not run at the same time do not contend: a run that did not
get its CPUs, because the machine does something else, is repeated a few times. What the loops are: bench/peers_bench.c, whose runs also check that no token
got lost or was made.

Prints a table; writes build/bench/peers.json and peers.txt. Python's standard library only.
"""
import argparse
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench"
THREADS = (1, 2, 10, 100)
CPUS = len(os.sched_getaffinity(0))
END_AFTER_S = 900
TRIES = 5     # for a run that
ENOUGH = 0.9  # has so much of the CPUs it could use

# variant: (who, its clock, what it is)
VARIANTS = {
    "today": ("java", "nano", "AsyncTokenBucket of pulsar-broker 4.2.4; its own clock, System.nanoTime a call"),
    "ours-nano": ("ours", "nano", "tidegate; clock_gettime a call"),
    "fastest": ("java", "cached", "AsyncTokenBucket of pulsar-broker 4.0.2; its own clock cached for 8 ms"),
    "ours-cached": ("ours", "cached", "tidegate; clock cached for 1 ms"),
}
PAIRS = (("ours-nano", "today"), ("ours-cached", "fastest"))
ROWS = {
    "hot": "one bucket spent by all threads: consume and check, never throttled",
    "six": "six buckets a message (three limits of messages and bytes), never throttled",
    "million": "2^20 buckets at random, never throttled; ours each by its owning thread, theirs by all",
    "throttled": "one bucket, 1 M/s: nearly all is refused",
}
FAST = ("ours-cached", "fastest")
GOALS = {  # (row, pair): the least ratio by number of threads
    ("hot", PAIRS[0]): {1: 1.5, 2: 6, 10: 6, 100: 6},
    ("hot", FAST): {1: 5, 2: 6, 10: 6, 100: 6},
    ("six", FAST): {n: 6 for n in THREADS},
    ("million", FAST): {n: 10 for n in THREADS},
}
MEMORY_GOAL = 8


class Failed(Exception):
    pass


class Peer:
    """A program that runs loops on request. It ends when its input does, so also when we are killed."""

    def __init__(self, name, command):
        self.name = name
        self.process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, bufsize=1)
        self.bytes_per_bucket = float(self.answer().split()[1])

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.name} ended with {self.process.wait()}")
        return line

    def run(self, row, clock, threads, seconds):
        self.process.stdin.write(f"{row} {clock} {threads} {seconds}\n")
        ops, admitted, wall_ns, cpu_ns = map(int, self.answer().split())
        if row != "throttled" and admitted != ops:
            raise Failed(f"{self.name}, {row}, {threads} threads: {ops - admitted} were refused")
        return {"mops": ops / wall_ns * 1e3, "ns": cpu_ns / ops, "admitted": admitted,
                "share": cpu_ns / wall_ns / min(threads, CPUS)}

    def run_undisturbed(self, *request):
        best = {"share": 0}
        for _ in range(TRIES):
            got = self.run(*request)
            if got["share"] > best["share"]:
                best = got
            if best["share"] >= ENOUGH:
                break
        return best

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def class_path(*words):
    return subprocess.run([ROOT / "tools/pulsar-classpath", *words], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def start_peers(args):
    broker = class_path("pulsar-broker", "4.2.4")
    before = class_path("--alone", "pulsar-broker", "4.0.2")
    java = ["java", "-Xms2g", "-Xmx2g", "-cp"]
    ours = Peer("tidegate", [args.ours])
    return {"today": Peer("today", java + [f"{args.classes}:{broker}", "Peer", "nano"]),
            "fastest": Peer("fastest", java + [f"{args.classes}:{before}:{broker}", "Peer", "cached"]),
            "ours-nano": ours, "ours-cached": ours}


def measure(peers, args):
    """{(row, threads, variant): [result per round]}"""
    results = {}
    names = list(VARIANTS)
    for i in range(-1, args.rounds):  # the first one warms the JVMs up
        for row in ROWS:
            for n in THREADS:
                for v in names[i % len(names):] + names[:i % len(names)]:
                    request = row, VARIANTS[v][1], n, args.seconds
                    if i < 0:
                        peers[v].run(*request)
                    else:
                        results.setdefault((row, n, v), []).append(
                            peers[v].run_undisturbed(*request))
        print(f"peers: round {i + 1} of {args.rounds}" if i >= 0 else "peers: warmed up",
              file=sys.stderr, flush=True)
    return results


def spread(values, digits=1):
    return (f"{statistics.median(values):.{digits}f} "
            f"[{min(values):.{digits}f}..{max(values):.{digits}f}]")


def verdict(ratio, goal):
    if goal is None:
        return ""
    return f">= {goal:g}  {'met' if ratio >= goal else 'missed'}"


def table(results, memory):
    lines = ["One operation is one decision and its charge. Ours returns its leases when the clock has moved: every",
             "4096 operations where it is read each time, every millisecond where it is cached."]
    lines += [f"  {name:<12} {what}" for name, (_, _, what) in VARIANTS.items()]
    rows = []
    for row, what in ROWS.items():
        for pair in PAIRS:
            ours, theirs = pair
            lines += ["", f"{row}: {what}", f"{'threads':>7}  {ours + ', M/s':<24}{'CPU ns':<8}"
                      f"{theirs + ', M/s':<24}{'CPU ns':<8}{'ratio':<19}{'by CPU':<8}goal"]
            for n in THREADS:
                a, b = results[row, n, ours], results[row, n, theirs]
                ratios = [x["mops"] / y["mops"] for x, y in zip(a, b)]
                by_cpu = statistics.median(y["ns"] / x["ns"] for x, y in zip(a, b))
                goal = GOALS.get((row, pair), {}).get(n)
                ratio = statistics.median(ratios)
                lines.append(f"{n:>7}  {spread([x['mops'] for x in a]):<24}"
                             f"{statistics.median(x['ns'] for x in a):<8.1f}"
                             f"{spread([x['mops'] for x in b]):<24}"
                             f"{statistics.median(x['ns'] for x in b):<8.1f}"
                             f"{spread(ratios):<19}{by_cpu:<8.1f}{verdict(ratio, goal)}")
                rows.append({"row": row, "threads": n, "ours": ours, "theirs": theirs,
                             "ratio": ratio, "ratio_by_cpu": by_cpu, "goal": goal,
                             "ours_rounds": a, "theirs_rounds": b})
    lines += ["", "bytes a bucket, of 2^20: " + ", ".join(f"{k} {v:.1f}" for k, v in memory.items())]
    for name in ("today", "fastest"):
        ratio = memory[name] / memory["tidegate"]
        lines.append(f"  {name} / tidegate: {ratio:.1f}  {verdict(ratio, MEMORY_GOAL)}")
        rows.append({"row": "memory", "ours": "tidegate", "theirs": name, "ratio": ratio,
                     "goal": MEMORY_GOAL, "bytes": memory})
    shares = [x["share"] for r in results.values() for x in r]
    disturbed = sum(s < ENOUGH for s in shares)
    if disturbed:
        lines += ["", f"{disturbed} of {len(shares)} runs had less than {ENOUGH:.0%} of the CPUs they could use, "
                  f"the median run {statistics.median(shares):.0%}: the machine was busy."]
    return "\n".join(lines), rows


def parse_args():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--ours", default=str(ROOT / "build/release/bench/peers_bench"))
    p.add_argument("--classes", default=str(ROOT / "build/peers"), help="where Peer.class is")
    p.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", "5")),
                   help="interleaved rounds (env ROUNDS; 5)")
    p.add_argument("--seconds", type=float, default=0.3, help="of each run (0.3)")
    return p.parse_args()


def main():
    args = parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    signal.alarm(END_AFTER_S)  # ends this, and with it the peers
    peers = {}
    try:
        peers = start_peers(args)
        memory = {p.name: p.bytes_per_bucket for p in peers.values()}
        results = measure(peers, args)
    except (Failed, OSError, subprocess.SubprocessError) as e:
        sys.exit(f"peers: {e}")
    finally:
        for p in set(peers.values()):
            p.stop()
    text, rows = table(results, memory)
    print(text)
    (OUT / "peers.txt").write_text(text + "\n")
    (OUT / "peers.json").write_text(json.dumps(
        {"rows": rows, "rounds": args.rounds, "seconds": args.seconds,
         "load_average": os.getloadavg(), "cpus": len(os.sched_getaffinity(0))}, indent=1) + "\n")


if __name__ == "__main__":
    main()
