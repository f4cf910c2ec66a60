"""Rows that compare rates: with the floor, with one topic, with one worker."""
import statistics

from harness import ALL_CPUS, Failed, med, row, topic_path

EACH = "writes=each"  # one write for each frame, as clients send them


def publish_latency(results, key):
    """Of all groups' medians the worst."""
    return statistics.median(max(g[key] for g in x["groups"]) for x in results)


def against_floor(b, name, durability, goal, *options):
    def run(start):
        with start(durability) as server:
            return b.load(server, *options)
    r = b.rounds(name, {"floor": lambda: run(b.floor), "broker": lambda: run(b.broker)})
    what = f"broker / floor, --durability {durability}"
    b.compare(name, what, r["broker"], r["floor"], "messages_per_s", "messages/s", goal,
              broker_cpu=med(r["broker"], "target_cpu"), floor_cpu=med(r["floor"], "target_cpu"),
              load_cpu_at_broker=med(r["broker"], "load_cpu"),
              load_cpu_at_floor=med(r["floor"], "load_cpu"),
              broker_p99_us=publish_latency(r["broker"], "p99_us"),
              floor_p99_us=publish_latency(r["floor"], "p99_us"))
    b.compare_cpu(name, what, r["broker"], r["floor"])


@row
def unbatched(b):
    """One write for each frame, as clients send them."""
    against_floor(b, "unbatched", "os", ">= 0.75", "--group", "window=1000," + EACH)


@row
def packed(b):
    """Unbatched frames, as many in one write as there are: the work per message alone."""
    against_floor(b, "packed", "os", "", "--group", "window=1000")


@row
def batch64(b):
    against_floor(b, "batch64", "os", ">= 0.75", "--group", "window=64,batch=64")


@row
def durable(b):
    against_floor(b, "durable", "sync", ">= 0.70", "--connections", "10", "--group",
                  "window=1000," + EACH)


@row
def p99(b):
    """Ten connections that publish 10 000 messages a second together, durable."""
    def run(start):
        with start("sync") as server:
            result = b.load(server, "--connections", "10", "--group", "window=1000,rate=1000," + EACH)
            if result["messages_per_s"] < 9900:
                raise Failed(f"p99: only {result['messages_per_s']} messages/s")
            return result["groups"][0]
    r = b.rounds("p99", {"floor": lambda: run(b.floor), "broker": lambda: run(b.broker)})
    for key in ("p50_us", "p99_us"):
        b.compare(key[:3], "broker / floor, 10 k messages/s, --durability sync", r["broker"],
                  r["floor"], key, "us to the receipt", "")


# ---- a backlog ----

BACKLOG = 1_000_000
WITHIN_S = 300


def drain(b, options):
    """Publishes, then consumes, a backlog; only the second is measured."""
    topic = "backlog"
    spec = f"topic=persistent://public/default/{topic},frames={BACKLOG // (10 if b.args.quick else 1)}"
    with b.broker("os", *options) as server:
        server.admin("PUT", topic_path(topic))
        server.admin("PUT", topic_path(topic) + "/subscription/load")
        b.load(server, "--group", "window=1000," + spec, seconds=WITHIN_S)
        return b.load(server, "--group", "consumers=1," + spec, seconds=WITHIN_S)


@row
def backlog(b):
    """A million messages of 1 KB, consumed and acknowledged, against the floor's echo of as many:
    from the log when there is memory for a few of them only, and from memory.

    The floor's echo pays for reading what it sends, the broker does not: so the goal is against
    the faster echo, of frames that came many in one write."""
    def echo(writes):
        with b.floor("none", "--echo") as server:
            return b.load(server, "--group", "window=1000" + writes)
    r = b.rounds("backlog", {
        "echo": lambda: echo(""), "echo_each": lambda: echo("," + EACH),
        "disk": lambda: drain(b, ("--memory", "256M")), "memory": lambda: drain(b, ())})
    for name, key, under, goal in (("backlog", "disk", "echo", ">= 0.70"),
                                   ("backlog cached", "memory", "echo", ">= 0.70"),
                                   ("backlog each", "disk", "echo_each", "")):
        what = "broker / floor's echo" + (", a write for each frame" if under != "echo" else "")
        b.compare(name, what, r[key], r[under], "messages_per_s", "messages/s", goal)
        b.compare_cpu(name, what, r[key], r[under])
    for key in ("disk", "memory"):
        b.alone("backlog " + key, "CPU-seconds a million messages",
                [x["target_cpu_ns_per_message"] / 1000 for x in r[key]], "s",
                "<= 4.6 (15x less than 70)")


# ---- many topics, two workers ----

CONNECTIONS = 10
TOPICS = 10_000


@row
def topics10k(b):
    """Ten thousand producers with a topic each against ten on one topic: as many connections, as
    many frames outstanding."""
    each = TOPICS // CONNECTIONS

    def run(group):
        with b.broker("os") as server:
            return b.load(server, "--connections", str(CONNECTIONS), "--group", group)

    one = f"topic=persistent://public/default/one,window={each}"
    many = f"producers={each},window=1"
    for name, writes, goal in (("topics10k", "," + EACH, ">= 0.80"), ("topics10k packed", "", "")):
        r = b.rounds(name, {"one": lambda: run(one + writes), "many": lambda: run(many + writes)})
        what = "10 000 topics / one topic"
        b.compare(name, what, r["many"], r["one"], "messages_per_s", "messages/s", goal)
        b.compare_cpu(name, what, r["many"], r["one"])


@row
def workers2(b):
    """What a message costs with two workers and with one: connections and topics spread. All share
    all CPUs, in both variants: it is the CPU time that is compared."""
    def run(workers):
        with b.broker("os", workers=workers, cpus=ALL_CPUS) as server:
            result = b.load(server, "--connections", "16", "--group", "producers=16,window=16," + EACH,
                            cpus=ALL_CPUS)
            result["messages_per_cpu_s"] = 1e9 / result["target_cpu_ns_per_message"]
            return result
    r = b.rounds("workers2", {"one": lambda: run(1), "two": lambda: run(2)})
    b.compare("workers2", "two workers / one", r["two"], r["one"], "messages_per_cpu_s",
              "messages per CPU-second", ">= 0.90")
    b.compare("workers2 rate", "two workers / one, sharing the CPUs with the load", r["two"], r["one"],
              "messages_per_s", "messages/s", "")
