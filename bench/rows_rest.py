"""Rows about a broker at rest: how soon it is ready, and what memory things take that do nothing."""
import socket
import time

from harness import Failed, row

SETTLE_S = 12  # the allocator gives unused pages back within ten seconds
DEFAULT_LIMITS = ("maxPublishRatePerTopicInMessages", "maxPublishRatePerTopicInBytes")
CONNECT = bytes.fromhex("0000001d 00000019 0802 1215 0a11") + b"Tidegate-idle-1.0" + bytes.fromhex("2013")


@row
def start(b):
    ready_ms, rss_kb = [], []
    for i in range(b.args.starts + 1):
        with b.broker("sync") as server:
            if i == 0:  # cold: not counted
                continue
            ready_ms.append(server.ready_s * 1000)
            time.sleep(0.2)  # what it does after its ready line
            rss_kb.append(server.rss_kb())
    what = f"{b.args.starts} warm starts, empty dir"
    b.alone("ready", what, ready_ms, "ms")
    b.alone("idle RSS", what, rss_kb, "KB")


def growth_bytes(b, server, count, make):
    """What <make>() adds to the server's resident memory, per thing of <count>."""
    time.sleep(1)
    before_kb = server.rss_kb()
    kept = make()
    time.sleep(2 if b.args.quick else SETTLE_S)
    grown = (server.rss_kb() - before_kb) * 1024 / count
    del kept
    return grown


@row
def topic_memory(b):
    """Topics made by REST, with no client and no subscription; names of 46 to 50 bytes."""
    count = 5_000 if b.args.quick else 100_000
    with b.broker("os") as server:
        names = [f"idle-topic-{i}" for i in range(count)]
        grown = growth_bytes(b, server, count, lambda: server.make_topics(names))
    b.alone("topic memory", f"growth of RSS over {count} idle topics", [grown], "bytes each",
            "<= 2048")


@row
def limits_idle(b):
    """Topics that have all been published to, with no client any more: what memory default limits add
    to each (what a topic has in it for one is in topic_memory), and what they cost at rest."""
    count, at_rest_s = (5_000, 2) if b.args.quick else (100_000, 10)
    with b.broker("os") as server:
        b.load(server, "--connections", "100", "--group", f"producers={count // 100},window=1",
               warmup=1, seconds=1 if b.args.quick else 6)
        time.sleep(2 if b.args.quick else SETTLE_S)
        grown = growth_bytes(b, server, count, lambda: set_default_limits(server))
        before_s = server.cpu_s()
        time.sleep(at_rest_s)
        idle = (server.cpu_s() - before_s) / at_rest_s * 100
    b.alone("limits idle", f"growth of RSS over {count} topics by default limits", [grown],
            "bytes each", "<= 64 with what a topic has in it")
    b.alone("limits idle CPU", f"{count} topics with them, {at_rest_s} s", [idle], "% of a core", "< 0.5")


def set_default_limits(server):
    for key in DEFAULT_LIMITS:
        server.admin("POST", f"/admin/v2/brokers/configuration/{key}/{10**9}")


def greet(port):
    s = socket.create_connection(("127.0.0.1", port), 30)
    s.sendall(CONNECT)
    if not s.recv(1024):
        raise Failed("an idle connection was closed")
    return s


@row
def connection_memory(b):
    """Plain connections that have said CONNECT and nothing more."""
    count = 1_000 if b.args.quick else 10_000
    with b.broker("os") as server:
        grown = growth_bytes(b, server, count, lambda: [greet(server.port) for _ in range(count)])
    b.alone("connection memory", f"growth of RSS over {count} idle connections", [grown],
            "bytes each", "<= 8192")
