"""Rows about HTTP beside full publish load: how soon it answers, and what a crowd of slow clients takes."""
import concurrent.futures
import http.client
import select
import socket
import threading
import time

from harness import Failed, row, topic_path

PATHS = {"health": "/admin/v2/brokers/health", "stats": topic_path("load-g0-0-0") + "/stats",
         "metrics": "/metrics"}
CROWD = 1000
HALF_A_HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "


def ask(connection, path):
    """Milliseconds until the whole answer is there."""
    begin = time.monotonic()
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or not body:
        raise Failed(f"GET {path}: {answer.status} {body[:200]!r}")
    return (time.monotonic() - begin) * 1000


def p99(values):
    return sorted(values)[int(0.99 * (len(values) - 1))]


def answers_under_load(b, others=0):
    """{name: milliseconds of each}, on one connection as a monitor keeps it, while the load runs."""
    with b.broker("os") as server:
        server.make_topics([f"other-{i}" for i in range(others)])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            load = pool.submit(b.load, server, "--group", "window=1000,writes=each")
            time.sleep(b.args.warmup)
            taken = {name: [] for name in PATHS}
            connection = http.client.HTTPConnection(server.web.removeprefix("http://"), timeout=30)
            while not load.done():
                for name, path in PATHS.items():
                    taken[name].append(ask(connection, path))
                time.sleep(0.005)
            connection.close()
            load.result()
    return taken


@row
def http_p99(b):
    """Also with a hundred other topics to be walked over and written down."""
    results = b.rounds("http_p99", {"few": lambda: answers_under_load(b),
                                    "many": lambda: answers_under_load(b, 100)})
    for variant, what in (("few", "one topic"), ("many", "101 topics")):
        for name in PATHS:
            b.alone(f"http {name}", f"p99 of GET under full publish load, {what}",
                    [p99(r[name]) for r in results[variant]], "ms", "<= 50")


class Crowd(threading.Thread):
    """Connections that send half a request and then a byte a second; who is sent away comes again."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.at, self.stopping = ("127.0.0.1", port), False
        self.sockets = [self.connect() for _ in range(CROWD)]
        self.start()

    def connect(self):
        s = socket.create_connection(self.at, 30)
        s.sendall(HALF_A_HEAD)
        s.setblocking(False)
        return s

    def run(self):
        while not self.stopping:
            time.sleep(1)
            for i, s in enumerate(self.sockets):
                try:
                    if s in select.select([s], [], [], 0)[0] and not s.recv(1):
                        raise ConnectionResetError
                    s.send(b"x")
                except OSError:
                    s.close()
                    self.sockets[i] = self.connect()

    def end(self):
        self.stopping = True
        self.join()
        for s in self.sockets:
            s.close()


@row
def http_slow(b):
    """Messages per second with a thousand slow HTTP clients and with none."""
    def run(crowded):
        with b.broker("os") as server:
            crowd = Crowd(int(server.web.rsplit(":", 1)[1])) if crowded else None
            result = b.load(server, "--group", "window=1000,writes=each")
            if crowd:
                crowd.end()
            return result
    r = b.rounds("http_slow", {"none": lambda: run(False), "again": lambda: run(False),
                               "slow": lambda: run(True)})
    b.compare("http slow A/A", "none / none", r["again"], r["none"], "messages_per_s", "messages/s", "")
    b.compare("http slow", "1000 slow HTTP clients / none", r["slow"], r["none"], "messages_per_s",
              "messages/s", "inside A/A")
    b.compare_cpu("http slow A/A", "none / none", r["again"], r["none"])
    b.compare_cpu("http slow", "1000 slow HTTP clients / none", r["slow"], r["none"])
