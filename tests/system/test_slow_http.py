"""HTTP clients that ask slowly, or don't read their answers: neither the administrator nor any publisher notices."""
import http.client
import select
import socket
import statistics
import threading
import time

import harness
import pytest
import raw

CROWD = 1000
HALF_A_HEAD = b"GET /admin/v2/brokers/health HTTP/1.1\r\nHost: x\r\nX-Slow: "
NOT_READ = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


class Crowd(threading.Thread):
    """Connections that send `first` and then, if `more`, a byte a second each; who is sent away comes again."""

    def __init__(self, broker, count, first, more=b""):
        super().__init__(daemon=True)
        self.at, self.first, self.more = (broker.host, broker.web_port), first, more
        self.stopping, self.sent_away, self.problem = False, 0, None
        self.ready = threading.Event()
        self.sockets = [self.connect() for _ in range(count)]
        self.start()
        assert self.ready.wait(60 * harness.SLOWNESS)

    def connect(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.setblocking(False)
        s.connect_ex(self.at)
        return s

    def renew(self, i):
        self.sockets[i].close()
        self.sockets[i] = self.connect()
        self.sent_away += 1

    def is_gone(self, s):
        if self.first is not HALF_A_HEAD:
            return select.select([], [], [s], 0)[2]  # it must not read
        try:
            return s.recv(1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def say(self, i, what):
        try:
            self.sockets[i].send(what)
        except BlockingIOError:
            pass
        except OSError:
            self.renew(i)

    def run(self):
        time.sleep(0.2)
        for i in range(len(self.sockets)):
            self.say(i, self.first)
        self.ready.set()
        try:
            self.go_on()
        except Exception as e:  # pylint: disable=broad-except
            self.problem = e

    def go_on(self):
        while not self.stopping:
            time.sleep(1)
            for i, s in enumerate(self.sockets):
                if self.is_gone(s):
                    self.renew(i)
                    time.sleep(0.001)
                    self.say(i, self.first)
                elif self.more:
                    self.say(i, self.more)

    def end(self):
        self.stopping = True
        self.join(30)
        for s in self.sockets:
            s.close()
        assert not self.problem, self.problem


def publish_latency(connection, first, count=200):
    """Median of the time from a message to its receipt."""
    waits = []
    for i in range(first, first + count):
        begin = time.monotonic()
        connection.write(raw.send(i))
        connection.expect(raw.SEND_RECEIPT)
        waits.append(time.monotonic() - begin)
    return statistics.median(waits)


def administer(broker, seconds):
    """Requests on connections of their own, one after the other; returns how long each took."""
    waits, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        for path in ("/brokers/health", "/tenants", "/persistent/public/default/busy/stats"):
            begin = time.monotonic()
            broker.ok("GET", path)
            waits.append(time.monotonic() - begin)
        time.sleep(0.05)
    return waits


@pytest.mark.limit(180)
def test_a_thousand_that_ask_slowly_keep_nobody_out(broker):
    with raw.Connection(broker) as c:
        c.create_producer("persistent://public/default/busy")
        before = publish_latency(c, 0)
        crowd = Crowd(broker, CROWD, HALF_A_HEAD, b"x")
        waits = administer(broker, 5)
        during = publish_latency(c, 1000)
        crowd.end()
    assert max(waits) < 3 * harness.SLOWNESS, sorted(waits)[-5:]
    assert during < 3 * before + 0.02 * harness.SLOWNESS, (before, during)


@pytest.mark.limit(180)
def test_more_than_may_be_there_are_sent_away_longest_first(make_broker):
    """With little memory there is room for two hundred: each newcomer sends one away, but not who is being served."""
    b = make_broker("--memory", "64M")
    crowd = Crowd(b, CROWD, HALF_A_HEAD, b"x")
    kept = http.client.HTTPConnection(b.host, b.web_port, timeout=20)
    b.ok("PUT", "/persistent/public/default/busy")
    waits = administer(b, 4)
    crowd.end()
    assert crowd.sent_away > CROWD / 2
    assert max(waits) < 3 * harness.SLOWNESS, sorted(waits)[-5:]
    kept.close()


def ended_after(broker, beginning):
    """Seconds until a connection that says this, and then a byte a second, is ended."""
    begin = time.monotonic()
    with socket.create_connection((broker.host, broker.web_port), timeout=1) as s:
        s.sendall(beginning)
        while time.monotonic() - begin < 30 * harness.SLOWNESS:
            try:
                s.sendall(b" ")
                if s.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    return time.monotonic() - begin


@pytest.mark.slow
def test_a_request_has_ten_seconds_however_it_trickles_and_an_idle_connection_more(broker):
    idle = http.client.HTTPConnection(broker.host, broker.web_port, timeout=20)
    idle.request("GET", "/admin/v2/brokers/health")
    assert idle.getresponse().read() == b"ok"
    idle.auto_open = False  # or it would connect anew
    took = ended_after(broker, b"POST /admin/v2/persistent/public/default/x/publishRate HTTP/1.1\r\nHost: x\r\n"
                               b"Content-Length: 100\r\n\r\n")
    assert 9 < took < 25 * harness.SLOWNESS, took
    idle.request("GET", "/admin/v2/brokers/health")
    assert idle.getresponse().read() == b"ok"
    idle.close()


@pytest.mark.limit(180)
@pytest.mark.parametrize("path", ["/metrics", "/admin/v2/broker-stats/topics",
                                  "/admin/v2/persistent/public/default/many/partitioned-stats?perPartition=true"])
def test_long_answers_that_are_not_read_leave_memory_for_others(make_broker, path):
    """Some megabytes each, for a hundred and more that don't read: the administrator gets his whole."""
    b = make_broker("--memory", "128M", "--log-level", "debug")
    b.ok("PUT", "/persistent/public/default/many/partitions", 1500)
    whole = len(b.rest("GET", path, base="").text)
    assert whole > 1 << 20
    with raw.Connection(b) as c:
        c.create_producer("persistent://public/default/busy")
        before = publish_latency(c, 0)
        crowd = Crowd(b, 300, NOT_READ % path.encode())
        took = []
        for _ in range(3):
            begin = time.monotonic()
            assert len(b.rest("GET", path, base="").text) > 0.9 * whole
            took.append(time.monotonic() - begin)
            b.ok("GET", "/brokers/health")
        during = publish_latency(c, 1000)
        assert b.memory_bytes() < 128 << 20 or harness.VARIANT != "release"
        if "partitioned-stats" in path:  # the other texts are shared
            harness.wait_for(lambda: "answers that are not read take too much" in b.log(), what="somebody sent away")
        crowd.end()
    assert max(took) < 20 * harness.SLOWNESS
    assert during < 3 * before + 0.02 * harness.SLOWNESS, (before, during)


def test_who_asks_for_metrics_at_once_gets_one_text(broker):
    """They all get it whole, and it does not take as many looks as there are who ask."""
    broker.ok("PUT", "/persistent/public/default/many/partitions", 200)
    texts = []

    def ask():
        texts.append(broker.rest("GET", "/metrics", base="").text)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(texts) == 50
    assert all(t.rstrip().endswith("}") or "tidegate_worker_topics" in t for t in texts)
    assert len(set(texts)) < 50
