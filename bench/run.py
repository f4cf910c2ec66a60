#!/usr/bin/env python3
"""make bench: the broker against the floor, and against itself with and without limits.

The server runs on CPU 0, the load on CPU 1. What is compared is run in interleaved rounds, each on a
fresh server and an empty data directory, in alternating order; the result is the median of the
rounds' ratios, with their spread. A ratio of something to itself (A/A) runs in the same rounds where
the goal is tight: a result inside that spread meets it.

Prints a table; writes build/bench/bench.json and bench.txt. Python's standard library only.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "bench"
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[-1]
READY = re.compile(r"tidegate ready broker=pulsar://([^\s:]+|\[[^\]]+\]):(\d+) web=(\S*)")
READY_WITHIN_S = 30
UNREACHED = {"publishThrottlingRateInMsg": 100_000_000, "publishThrottlingRateInByte": 10**12}


class Failed(Exception):
    pass


class Server:
    """The broker or the floor, from its ready line to its end."""

    def __init__(self, command, cpu=SERVER_CPU):
        self.dir = tempfile.mkdtemp(prefix="data-", dir=OUT)
        self.log = open(OUT / "server.log", "a", encoding="utf-8")
        command = [a.replace("{dir}", self.dir) for a in command]
        os.sync()  # what the round before left unwritten is no load of this one
        begin = time.monotonic()
        self.process = subprocess.Popen(["taskset", "-c", str(cpu), *command], text=True,
                                        stdout=subprocess.PIPE, stderr=self.log)
        watchdog = threading.Timer(READY_WITHIN_S, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline()
        self.ready_s = time.monotonic() - begin
        watchdog.cancel()
        match = READY.match(line)
        if not match:
            self.stop()
            raise Failed(f"{command[0]} did not get ready (see {OUT / 'server.log'})")
        self.port, self.web = int(match.group(2)), match.group(3)

    @property
    def pid(self):
        return self.process.pid  # taskset became the server

    def admin(self, method, path, body=None):
        request = urllib.request.Request(
            self.web + path, method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except urllib.error.HTTPError as e:
            if e.code != 409:  # there already
                raise Failed(f"{method} {path}: {e.code} {e.read()[:200]!r}") from e

    def limit(self, topic, rate):
        path = "/admin/v2/persistent/public/default/" + topic
        self.admin("PUT", path)
        self.admin("POST", path + "/publishRate", rate)

    def rss_kb(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Bench:
    def __init__(self, args):
        self.args = args
        self.rows = []

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def floor(self, durability):
        return Server([self.args.floor, "--durability", durability, "--data-dir", "{dir}"])

    def broker(self, durability):
        if self.args.against_itself:
            return self.floor(durability)
        return Server([self.args.broker, "standalone", "--data-dir", "{dir}", "--broker-port", "0",
                       "--web-port", "0", "--workers", "1", "--durability", durability])

    def load(self, server, *options, warmup=None, seconds=None):
        command = ["taskset", "-c", str(LOAD_CPU), self.args.load, "--port", str(server.port),
                   "--pid", str(server.pid), "--warmup", str(warmup or self.args.warmup),
                   "--duration", str(seconds or self.args.seconds), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        wrong = sum(g["wrong_ids"] + g["send_errors"] for g in result["groups"])
        if wrong:
            raise Failed(f"{wrong} wrong receipts or errors: {done.stdout}")
        return result

    def rounds(self, name, count, variants):
        """{variant: [result per round]}; the order turns round by round."""
        results = {v: [] for v in variants}
        names = list(variants)
        for i in range(count):
            for v in names[i % len(names):] + names[:i % len(names)]:
                results[v].append(variants[v]())
            self.say(f"{name}: round {i + 1} of {count}")
        return results

    def row(self, name, what, over, under, unit, goal, **more):
        """One line of the table: the median of over[i] / under[i]."""
        ratios = [a / b for a, b in zip(over, under)]
        row = {"row": name, "what": what, "unit": unit, "goal": goal,
               "value": statistics.median(over), "against": statistics.median(under),
               "ratio": statistics.median(ratios), "ratio_min": min(ratios),
               "ratio_max": max(ratios), "rounds": len(ratios), "values": over,
               "against_values": under, **more}
        self.rows.append(row)
        return row

    # ---- rows ----

    def throughput(self, name, durability, goal, *options):
        def run(start):
            with start(durability) as server:
                return self.load(server, *options)
        r = self.rounds(name, self.args.rounds, {"floor": lambda: run(self.floor),
                                                 "broker": lambda: run(self.broker)})
        rate = {k: [x["messages_per_s"] for x in v] for k, v in r.items()}
        self.row(name, f"broker / floor, --durability {durability}", rate["broker"], rate["floor"],
                 "messages/s", goal,
                 broker_cpu_ns_per_message=med(r["broker"], "target_cpu_ns_per_message"),
                 floor_cpu_ns_per_message=med(r["floor"], "target_cpu_ns_per_message"),
                 broker_cpu=med(r["broker"], "target_cpu"), floor_cpu=med(r["floor"], "target_cpu"),
                 load_cpu_at_broker=med(r["broker"], "load_cpu"),
                 load_cpu_at_floor=med(r["floor"], "load_cpu"),
                 broker_p99_us=statistics.median(x["groups"][0]["p99_us"] for x in r["broker"]),
                 floor_p99_us=statistics.median(x["groups"][0]["p99_us"] for x in r["floor"]))

    def unbatched(self):
        """One write for each frame, as clients send them."""
        self.throughput("unbatched", "os", ">= 0.75", "--group", "window=1000,writes=each")

    def packed(self):
        """Unbatched frames, as many in one write as there are: the work per message alone."""
        self.throughput("packed", "os", "", "--group", "window=1000")

    def batch64(self):
        self.throughput("batch64", "os", ">= 0.75", "--group", "window=64,batch=64")

    def durable(self):
        self.throughput("durable", "sync", ">= 0.70", "--connections", "10", "--group",
                        "window=1000,writes=each")

    def limits(self):
        """What limits that are set and not reached cost."""
        def run(limited):
            with self.broker("os") as server:
                if limited and not self.args.against_itself:
                    server.limit("load-g0-0-0", UNREACHED)
                return self.load(server, "--group", "window=1000")
        r = self.rounds("limits", self.args.rounds, {
            "none": lambda: run(False), "again": lambda: run(False), "set": lambda: run(True)})
        for key, unit, goal in (("messages_per_s", "messages/s", ">= 0.99 or inside A/A"),
                                ("target_cpu_ns_per_message", "CPU ns/message",
                                 "<= 1.01 or inside A/A")):
            value = {k: [x[key] for x in v] for k, v in r.items()}
            self.row("limits A/A", "none / none", value["again"], value["none"], unit, "")
            self.row("limits", "set, not reached / none", value["set"], value["none"], unit, goal)

    def neighbour_of(self, name, over, paced):
        """B on one connection with A, which is over its limit; the control is A paced at it."""
        b = "name=b,rate=200,window=100"
        def run(group, limited):
            with self.broker("os") as server:
                if limited and not self.args.against_itself:
                    server.limit("load-a", {"publishThrottlingRateInMsg": 500,
                                            "publishThrottlingRateInByte": -1})
                topic = ",topic=persistent://public/default/load-a"
                return self.load(server, "--group", "name=a" + group + topic, "--group", b,
                                 warmup=self.args.neighbour_warmup,
                                 seconds=self.args.neighbour_seconds)
        over_group = paced if self.args.against_itself else over
        r = self.rounds(name, max(10, self.args.rounds) if not self.args.quick else
                        self.args.rounds, {
                            "paced": lambda: run(paced, False),
                            "again": lambda: run(paced, False),
                            "over": lambda: run(over_group, True)})
        p99 = {k: [x["groups"][1]["p99_us"] for x in v] for k, v in r.items()}
        a_rate = statistics.median(x["groups"][0]["messages_per_s"] for x in r["over"])
        self.row(name + " A/A", "A paced / A paced", p99["again"], p99["paced"], "us, B's p99", "")
        self.row(name, "A over its limit / A paced at it", p99["over"], p99["paced"],
                 "us, B's p99", "<= 1.05 or inside A/A", a_messages_per_s=a_rate)

    def neighbour(self):
        self.neighbour_of("neighbour", ",window=1000", ",window=1000,rate=500")

    def neighbour1000(self):
        self.neighbour_of("neighbour1000", ",producers=1000,window=2",
                          ",producers=1000,window=2,rate=0.5")

    def start(self):
        ready_ms, rss_kb = [], []
        for i in range(self.args.starts + 1):
            with self.broker("sync") as server:
                if i == 0:  # cold: not counted
                    continue
                ready_ms.append(server.ready_s * 1000)
                time.sleep(0.2)  # what it does after its ready line
                rss_kb.append(server.rss_kb())
        for name, values, unit in (("ready", ready_ms, "ms"), ("idle RSS", rss_kb, "KB")):
            self.rows.append({"row": name, "what": f"median of {len(values)} warm starts, empty dir",
                              "unit": unit, "value": statistics.median(values), "min": min(values),
                              "max": max(values), "goal": ""})

    # ---- the result ----

    def table(self):
        lines = [f"{'row':<18} {'value':>12} {'against':>12} {'ratio':>7} {'min..max':>14}"
                 "  what, unit, goal"]
        for r in self.rows:
            against = f"{r['against']:.1f}" if "against" in r else ""
            ratio = f"{r['ratio']:.3f}" if "ratio" in r else ""
            low, high = ("ratio_min", "ratio_max") if "ratio" in r else ("min", "max")
            digits = 3 if "ratio" in r else 1
            spread = f"{r[low]:.{digits}f}..{r[high]:.{digits}f}"
            goal = f"; goal {r['goal']}" if r["goal"] else ""
            lines.append(f"{r['row']:<18} {r['value']:>12.1f} {against:>12} {ratio:>7} {spread:>14}"
                         f"  {r['what']}, {r['unit']}{goal}")
        return "\n".join(lines)


def med(results, key):
    return statistics.median(x[key] for x in results)


ROWS = ["unbatched", "packed", "batch64", "durable", "limits", "neighbour", "neighbour1000", "start"]


def parse_args():
    env = os.environ.get
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--broker", default=str(ROOT / "build/tidegate"))
    p.add_argument("--floor", default=str(ROOT / "build/release/bench/floor"))
    p.add_argument("--load", default=str(ROOT / "build/release/bench/load"))
    p.add_argument("--rounds", type=int, default=int(env("ROUNDS", "5")),
                   help="interleaved rounds (env ROUNDS; 5); the neighbour rows run at least 10")
    p.add_argument("--rows", default=env("ROWS", ",".join(ROWS)),
                   help="comma-separated (env ROWS); default all: " + ",".join(ROWS))
    p.add_argument("--seconds", type=float, default=float(env("SECONDS_MEASURED", "4")))
    p.add_argument("--warmup", type=float, default=1.0)
    p.add_argument("--neighbour-seconds", type=float, default=5.0)
    p.add_argument("--neighbour-warmup", type=float, default=3.0,
                   help="long enough for the limit's burst to be spent")
    p.add_argument("--starts", type=int, default=20)
    p.add_argument("--quick", action="store_true", help="neighbour rows run --rounds rounds too")
    p.add_argument("--against-itself", action="store_true",
                   help="the floor in the broker's place, without limits: tries the harness")
    return p.parse_args()


def main():
    args = parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "server.log").write_text("")
    if SERVER_CPU == LOAD_CPU:
        print("bench: only one CPU here: server and load share it", file=sys.stderr)
    bench = Bench(args)
    failures = []
    for name in args.rows.split(","):
        if name not in ROWS:
            sys.exit(f"bench: no row {name}; rows: {', '.join(ROWS)}")
        try:
            getattr(bench, name)()
        except (Failed, OSError, subprocess.SubprocessError) as e:
            failures.append(f"{name}: {e}")
            bench.say(f"FAILED {name}: {e}")
    table = bench.table()
    print(table)
    (OUT / "bench.txt").write_text(table + "\n")
    (OUT / "bench.json").write_text(json.dumps(
        {"rows": bench.rows, "failures": failures, "rounds": args.rounds,
         "load_average": os.getloadavg(), "cpus": len(CPUS)}, indent=1) + "\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
