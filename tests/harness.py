"""Starts, watches and ends a broker for a test; speaks to its HTTP side; runs the command line."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

TIDEGATE = os.environ.get("TIDEGATE") or str(pathlib.Path(__file__).parent.parent / "build/tidegate")
VARIANT = os.environ.get("TIDEGATE_VARIANT", "release")
WORKERS = os.environ.get("WORKERS", "2")  # of every broker that does not say otherwise
LONG = os.environ.get("LONG", "") not in ("", "0")
SLOWNESS = {"asan": 3, "tsan": 8}.get(VARIANT, 1)
FAULT_SHIM = pathlib.Path(TIDEGATE).resolve().parent / "fault.so"
PROMTOOL_DIR = pathlib.Path(__file__).resolve().parent.parent / "build"  # tools/setup interop puts it there
READY = re.compile(r"tidegate ready broker=(pulsar://(\S+):(\d+)) web=(http://\S+:(\d+))\n")
START_S = 30 * SLOWNESS
STOP_S = 15 * SLOWNESS


def sanitizer_libraries():
    """Of a binary that is built with them: they insist on being loaded before anything else that is preloaded."""
    listed = subprocess.run(["ldd", TIDEGATE], capture_output=True, text=True, check=True).stdout
    return re.findall(r"lib(?:asan|tsan)\S* => (\S+)", listed)


def wait_for(condition, seconds=10, what="the condition", every=0.02):
    """The first true value of condition(); fails after `seconds`."""
    end = time.monotonic() + seconds * SLOWNESS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come in {seconds * SLOWNESS} s")
        time.sleep(every)


class Answer:
    def __init__(self, status, text):
        self.status, self.text = status, text

    @property
    def json(self):
        return json.loads(self.text) if self.text else None

    def __repr__(self):
        return f"HTTP {self.status}: {self.text[:300]}"


class Broker:
    """One data directory and the process on it, which may be started several times."""

    def __init__(self, data_dir, options=(), config=None, env=None, preload=None):
        self.data_dir = pathlib.Path(data_dir)
        self.options, self.env, self.preload = list(options), env or {}, preload
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self.config_path = None
        if config:
            self.config_path = self.data_dir.with_name(self.data_dir.name + ".conf")
            self.config_path.write_text("".join(f"{k}={v}\n" for k, v in config.items()))
        self.process = None
        self.url = self.web = None

    # ---- life ----

    def command(self):
        ports = [] if "--broker-port" in self.options else ["--broker-port", "0"]
        ports += [] if "--web-port" in self.options else ["--web-port", "0"]
        workers = [] if "--workers" in self.options else ["--workers", WORKERS]
        config = ["--config", str(self.config_path)] if self.config_path else []
        return [TIDEGATE, "standalone", "--data-dir", str(self.data_dir), *ports, *workers, *config,
                *self.options]

    def spawn(self):
        env = dict(os.environ, **self.env)
        if self.preload:
            env["LD_PRELOAD"] = " ".join([*sanitizer_libraries(), str(self.preload)])
        self.log_file = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdout=subprocess.PIPE, stderr=self.log_file,
                                        stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        self.log_file.close()
        return self

    def start(self):
        """Spawns it and waits for the ready line."""
        self.spawn()
        os.set_blocking(self.process.stdout.fileno(), False)
        seen, end = b"", time.monotonic() + START_S
        while b"\n" not in seen:
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"no ready line ({self.process.poll()}):\n{self.log_tail()}")
            seen += self.process.stdout.read() or b""
            time.sleep(0.005)
        match = READY.fullmatch(seen.decode())
        assert match, f"not a ready line: {seen!r}"
        self.url, self.host, self.port = match[1], match[2], int(match[3])
        self.web, self.web_port = match[4], int(match[5])
        return self

    def stop(self, signal_number=signal.SIGTERM):
        """Ends it in order; returns the exit code."""
        self.process.send_signal(signal_number)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {STOP_S} s:\n{self.log_tail()}") from None

    def kill(self):
        """As a crash does."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def restart(self, crash=False):
        if crash:
            self.kill()
        else:
            code = self.stop()
            assert code == 0, f"ended with {code}:\n{self.log_tail()}"
        return self.start()

    def end(self):
        """After a test: what was wrong with how the process ended, as a list."""
        if not self.process:
            return []
        problems = []
        if self.process.poll() is None:
            try:
                code = self.stop()
                if code != 0:
                    problems.append(f"ended with {code}:\n{self.log_tail()}")
            except AssertionError as e:
                problems.append(str(e))
        self.process.stdout.close()
        if re.search(r"(ERROR|WARNING|FATAL): \w+Sanitizer|runtime error:|assert", self.log()):
            problems.append(f"the log has a sanitizer's or an assertion's finding:\n{self.log_tail(20000)}")
        return problems

    # ---- looking at it ----

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, size=6000):
        return self.log()[-size:]

    def memory_bytes(self):
        """Resident now."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def rest(self, method, path, body=None, raw=None, base="/admin/v2"):
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.web + base + path, data=data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=30 * SLOWNESS) as r:
                return Answer(r.status, r.read().decode())
        except urllib.error.HTTPError as e:
            with e:
                return Answer(e.code, e.read().decode(errors="replace"))

    def ok(self, method, path, body=None, **keywords):
        answer = self.rest(method, path, body, **keywords)
        assert 200 <= answer.status < 300, f"{method} {path}: {answer}"
        return answer.json if answer.text[:1] in ("{", "[", '"') or answer.text == "null" else answer.text

    def stats(self, topic):
        return self.ok("GET", f"/{rest_path(topic)}/stats")

    def set_rate(self, topic, messages=-1, bytes_=-1, **more):
        self.ok("POST", f"/{rest_path(topic)}/publishRate",
                {"publishThrottlingRateInMsg": messages, "publishThrottlingRateInByte": bytes_, **more})

    def cli(self, *words, check=True):
        r = subprocess.run([TIDEGATE, *words], capture_output=True, text=True, timeout=60 * SLOWNESS,
                           env=dict(os.environ, TIDEGATE_ADMIN_URL=self.web or ""))
        if check:
            assert r.returncode == 0, f"{words}: {r.returncode} {r.stderr}"
        return r

    def stored(self, ledger=None):
        """What is in the log: a list of dictionaries with ledger, entry, admitted_ns, messages, bytes."""
        words = ["store", "dump", "--data-dir", str(self.data_dir)]
        if ledger is not None:
            words += ["--ledger", str(ledger)]
        names = ("segment", "offset", "ledger", "entry", "admitted_ns", "messages", "bytes")
        rows = []
        for line in self.cli(*words).stdout.splitlines():
            rows.append(dict(zip(names, map(int, line.split()), strict=True)))
        return rows


def rest_path(topic):
    """persistent://t/n/x as persistent/t/n/x, percent-encoded."""
    import urllib.parse
    domain, rest = topic.split("://")
    tenant, ns, local = rest.split("/", 2)
    return f"{domain}/{tenant}/{ns}/{urllib.parse.quote(local, safe='')}"


def run(*words, seconds=30, env=None):
    return subprocess.run([TIDEGATE, *map(str, words)], capture_output=True, text=True, timeout=seconds * SLOWNESS,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
