"""What all rows of `make bench` stand on: servers, the load, interleaved rounds, the table."""
import concurrent.futures
import http.client
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
ALL_CPUS = ",".join(map(str, CPUS))
READY = re.compile(r"tidegate ready broker=pulsar://([^\s:]+|\[[^\]]+\]):(\d+) web=(\S*)")
READY_WITHIN_S = 30
LEASH = ("setpriv", "--pdeathsig", "KILL")  # what we start ends with us, however we end

ROWS = {}  # name -> function(Bench), in the order of `make bench`


def row(function):
    """Makes a function(bench) a row that can be asked for by its name."""
    ROWS[function.__name__] = function
    return function


class Failed(Exception):
    pass


class Server:
    """The broker or the floor, from its ready line to its end."""

    def __init__(self, command, cpus=SERVER_CPU):
        begin = self.spawn(command, cpus)
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

    def spawn(self, command, cpus, **environment):
        """Starts it, in an empty directory; returns when, on the monotonic clock."""
        self.dir = tempfile.mkdtemp(prefix="data-", dir=OUT)
        self.log = open(OUT / "server.log", "a", encoding="utf-8")
        command = [a.replace("{dir}", self.dir) for a in command]
        os.sync()  # what the round before left unwritten is no load of this one
        begin = time.monotonic()
        self.process = subprocess.Popen([*LEASH, "taskset", "-c", str(cpus), *command], text=True,
                                        stdout=subprocess.PIPE, stderr=self.log,
                                        env={**os.environ, **environment})
        return begin

    @property
    def pid(self):
        return self.process.pid  # setpriv and taskset became the server

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

    def make_topics(self, names, threads=16):
        """Many topics, by REST over a few connections that are kept."""
        host = self.web.removeprefix("http://")

        def make(part):
            c = http.client.HTTPConnection(host, timeout=60)
            for name in part:
                c.request("PUT", topic_path(name))
                answer = c.getresponse()
                answer.read()
                if answer.status not in (204, 409):
                    raise Failed(f"PUT {name}: {answer.status}")
            c.close()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(make, [names[i::threads] for i in range(threads)]))

    def rss_kb(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def cpu_s(self):
        """The CPU time it has used, of all its threads."""
        stat = pathlib.Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

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

    def floor(self, durability, *options):
        return Server([self.args.floor, "--durability", durability, "--data-dir", "{dir}", *options])

    def broker(self, durability, *options, workers=1, cpus=SERVER_CPU):
        if self.args.against_itself:
            return self.floor(durability)
        return Server([self.args.broker, "standalone", "--data-dir", "{dir}", "--broker-port", "0",
                       "--web-port", "0", "--workers", str(workers), "--durability", durability,
                       *options], cpus)

    def load(self, server, *options, warmup=None, seconds=None, cpus=LOAD_CPU):
        command = [*LEASH, "taskset", "-c", str(cpus), self.args.load, "--port", str(server.port),
                   "--pid", str(server.pid), "--warmup", str(warmup or self.args.warmup),
                   "--duration", str(seconds or self.args.seconds), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        wrong = sum(g["wrong_ids"] + g["send_errors"] for g in result["groups"])
        if wrong:
            raise Failed(f"{wrong} wrong receipts, messages or errors: {done.stdout}")
        return result

    def rounds(self, name, variants, count=None):
        """{variant: [result per round]}; the order turns round by round."""
        results = {v: [] for v in variants}
        names = list(variants)
        count = count or self.args.rounds
        for i in range(count):
            for v in names[i % len(names):] + names[:i % len(names)]:
                results[v].append(variants[v]())
            self.say(f"{name}: round {i + 1} of {count}")
        return results

    def compare(self, name, what, over, under, key, unit, goal, **more):
        """One line of the table: the median of over[i][key] / under[i][key]."""
        a, b = [x[key] for x in over], [x[key] for x in under]
        ratios = [x / y for x, y in zip(a, b)]
        self.add({"row": name, "what": what, "unit": unit, "goal": goal,
                  "value": statistics.median(a), "against": statistics.median(b),
                  "ratio": statistics.median(ratios), "ratio_min": min(ratios),
                  "ratio_max": max(ratios), "rounds": len(ratios), "values": a,
                  "against_values": b, **more})

    def compare_cpu(self, name, what, over, under, goal=""):
        """The same of the server's CPU time: less noisy than what fits into a second."""
        self.compare(name + " CPU", what, over, under, "target_cpu_ns_per_message",
                     "CPU ns/message", goal)

    def alone(self, name, what, values, unit, goal=""):
        """One line of the table: a figure with nothing beside it."""
        self.add({"row": name, "what": what, "unit": unit, "goal": goal,
                  "value": statistics.median(values), "min": min(values),
                  "max": max(values), "values": values})

    def add(self, result):
        """One line of the table, shown at once: a run that is cut short has shown what it had."""
        self.rows.append(result)
        self.say(line_of(result))

    def table(self):
        return "\n".join([f"{'row':<18} {'value':>12} {'against':>12} {'ratio':>7} {'min..max':>14}"
                          "  what, unit, goal", *map(line_of, self.rows)])


def line_of(r):
    against = f"{r['against']:.1f}" if "against" in r else ""
    ratio = f"{r['ratio']:.3f}" if "ratio" in r else ""
    low, high = ("ratio_min", "ratio_max") if "ratio" in r else ("min", "max")
    digits = 3 if "ratio" in r else 1
    spread = f"{r[low]:.{digits}f}..{r[high]:.{digits}f}"
    goal = f"; goal {r['goal']}" if r["goal"] else ""
    return (f"{r['row']:<18} {r['value']:>12.1f} {against:>12} {ratio:>7} {spread:>14}"
            f"  {r['what']}, {r['unit']}{goal}")


def topic_path(name):
    return "/admin/v2/persistent/public/default/" + name


def med(results, key):
    return statistics.median(x[key] for x in results)
