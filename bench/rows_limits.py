"""Rows about what limits cost: those who keep to them, and the neighbours of those who don't."""
import statistics

from harness import row, topic_path
from rows_speed import EACH

TOPIC = "load-g0-0-0"  # the topic of the load's first producer
NEVER_REACHED = {"publishThrottlingRateInMsg": 100_000_000, "publishThrottlingRateInByte": 10**12}

# Every kind of limit and quota that a message of TOPIC is charged to, producer to broker: method, path, body.
EVERY_LIMIT = [
    ("POST", topic_path(TOPIC) + "/producerPublishRate", NEVER_REACHED),
    ("POST", topic_path(TOPIC) + "/publishRate", NEVER_REACHED),
    ("POST", "/admin/v2/namespaces/public/default/publishQuota", NEVER_REACHED),
    ("POST", "/admin/v2/tenants/public/publishQuota", NEVER_REACHED),
    ("PUT", "/admin/v2/resourcegroups/gold", {"publishRateInMsgs": 100_000_000, "publishRateInBytes": 10**12}),
    ("POST", "/admin/v2/tenants/public/resourcegroup/gold", None),
    ("POST", "/admin/v2/brokers/configuration/brokerPublisherThrottlingMaxMessageRate/100000000", None),
    ("POST", "/admin/v2/brokers/configuration/brokerPublisherThrottlingMaxByteRate/1000000000000", None),
]


def set_every_limit(server):
    for method, path, body in EVERY_LIMIT:
        server.admin(method, path, body)


def limits_of(b, name, group):
    """What limits that are set and not reached cost."""
    def run(limited):
        with b.broker("os") as server:
            if not b.args.against_itself:
                server.admin("PUT", topic_path(TOPIC))
            if limited and not b.args.against_itself:
                set_every_limit(server)
            return b.load(server, "--group", group)
    r = b.rounds(name, {"none": lambda: run(False), "again": lambda: run(False),
                        "set": lambda: run(True)})
    for key, unit, goal in (("messages_per_s", "messages/s", ">= 0.99 or inside A/A"),
                            ("target_cpu_ns_per_message", "CPU ns/message",
                             "<= 1.01 or inside A/A")):
        b.compare(name + " A/A", "none / none", r["again"], r["none"], key, unit, "")
        b.compare(name, "set, not reached / none", r["set"], r["none"], key, unit, goal)


@row
def limits(b):
    """Unbatched, many frames in one write."""
    limits_of(b, "limits", "window=1000")


@row
def limits_each(b):
    """Unbatched, one write for each frame: turns of few messages."""
    limits_of(b, "limits_each", "window=1000," + EACH)


@row
def limits_batch64(b):
    limits_of(b, "limits_batch64", "window=64,batch=64")


# ---- what is delivered ----

DISPATCH_NEVER_REACHED = {"dispatchThrottlingRateInMsg": 100_000_000, "dispatchThrottlingRateInByte": 10**12}
EVERY_DISPATCH_LIMIT = [
    ("POST", "/admin/v2/namespaces/public/default/subscriptionDispatchRate", DISPATCH_NEVER_REACHED),
    ("POST", "/admin/v2/namespaces/public/default/dispatchRate", DISPATCH_NEVER_REACHED),
    ("POST", "/admin/v2/namespaces/public/default/dispatchQuota", DISPATCH_NEVER_REACHED),
    ("POST", "/admin/v2/tenants/public/dispatchQuota", DISPATCH_NEVER_REACHED),
    ("POST", "/admin/v2/brokers/configuration/dispatchThrottlingRateInMsg/100000000", None),
    ("POST", "/admin/v2/brokers/configuration/dispatchThrottlingRateInByte/1000000000000", None),
]
BACKLOG = 1_000_000


def set_every_dispatch_limit(b, server, limited):
    for method, path, body in EVERY_DISPATCH_LIMIT if limited and not b.args.against_itself else []:
        server.admin(method, path, body)


def prepare(b, server, topic, sub="load"):
    server.admin("PUT", topic_path(topic))
    server.admin("PUT", topic_path(topic) + "/subscription/" + sub)


def dispatch_limits_of(b, name, *options):
    """What limits that are set and not reached cost a backlog that is consumed."""
    spec = f"topic=persistent://public/default/backlog,frames={BACKLOG // (10 if b.args.quick else 1)}"

    def run(limited):
        with b.broker("os", *options) as server:
            prepare(b, server, "backlog")
            set_every_dispatch_limit(b, server, limited)
            b.load(server, "--group", "window=1000," + spec, seconds=120)
            return b.load(server, "--group", "consumers=1," + spec, seconds=120)
    r = b.rounds(name, {"none": lambda: run(False), "again": lambda: run(False), "set": lambda: run(True)})
    for key, unit, goal in (("messages_per_s", "messages/s", ">= 0.99 or inside A/A"),
                            ("target_cpu_ns_per_message", "CPU ns/message", "<= 1.01 or inside A/A")):
        b.compare(name + " A/A", "none / none", r["again"], r["none"], key, unit, "")
        b.compare(name, "set, not reached / none", r["set"], r["none"], key, unit, goal)


@row
def dispatch_limits(b):
    """From memory."""
    dispatch_limits_of(b, "dispatch_limits")


@row
def dispatch_limits_disk(b):
    """From the log."""
    dispatch_limits_of(b, "dispatch_limits_disk", "--memory", "256M")


def tail(topic, rate):
    at = f",topic=persistent://public/default/{topic}"
    return ["--group", f"name={topic}-in,rate={rate},window=1000{at}", "--group", f"name={topic},consumers=1{at}"]


def p99_of(result, name):
    return {"p99_us": next(g["p99_us"] for g in result["groups"] if g["name"] == name)}


def compare_p99(b, name, run, same, what, unit="us, B's p99"):
    """run(True) beside run(False), and that beside itself; <same> and <what> say so in the table."""
    count = b.args.rounds if b.args.quick else max(10, b.args.rounds)
    r = b.rounds(name, {"control": lambda: run(False), "again": lambda: run(False), "limited": lambda: run(True)}, count)
    b.compare(name + " A/A", same, r["again"], r["control"], "p99_us", unit, "")
    b.compare(name, what, r["limited"], r["control"], "p99_us", unit, "<= 1.05 or inside A/A")


@row
def dispatch_tail(b):
    """From the producer's socket to the consumer's, 1000 messages a second, all of them below the limits."""
    def run(limited):
        with b.broker("os") as server:
            prepare(b, server, "b")
            set_every_dispatch_limit(b, server, limited)
            return p99_of(b.load(server, *tail("b", 1000), warmup=b.args.neighbour_warmup,
                                 seconds=b.args.neighbour_seconds), "b")
    compare_p99(b, "dispatch_tail", run, "none / none", "set, not reached / none", "us, p99")


@row
def dispatch_neighbour(b):
    """B tails on one connection with A, which drains a backlog at its limit of 500/s; the control is A that tails what is
    published at that pace, without a limit."""
    backlog = "topic=persistent://public/default/a,frames=20000"

    def run(limited):
        with b.broker("os") as server:
            prepare(b, server, "a")
            prepare(b, server, "b")
            a = tail("a", 500)
            if limited and not b.args.against_itself:
                b.load(server, "--group", "window=1000," + backlog, seconds=60)
                server.admin("POST", topic_path("a") + "/dispatchRate",
                             {"dispatchThrottlingRateInMsg": 500, "dispatchThrottlingRateInByte": -1})
                a = ["--group", "name=a,consumers=1,topic=persistent://public/default/a"]
            return p99_of(b.load(server, *a, *tail("b", 200), warmup=b.args.neighbour_warmup,
                                 seconds=b.args.neighbour_seconds), "b")
    compare_p99(b, "dispatch_neighbour", run, "A paced / A paced", "A at its limit / A paced at it")


@row
def dispatch_neighbour_topic(b):
    """B tails a topic of 200/s; on its connection and topic a subscription is over a limit of 100/s of its own; the control
    is one without a limit."""
    at = ",topic=persistent://public/default/a"
    groups = [x for g in (f"name=in,rate=200,window=1000{at}", f"name=b,consumers=1,sub=b{at}",
                          f"name=slow,consumers=1,sub=slow{at}") for x in ("--group", g)]

    def run(limited):
        with b.broker("os") as server:
            prepare(b, server, "a", "b")
            prepare(b, server, "a", "slow")
            if limited and not b.args.against_itself:
                server.admin("POST", topic_path("a") + "/slow/dispatchRate",
                             {"dispatchThrottlingRateInMsg": 100, "dispatchThrottlingRateInByte": -1})
            return p99_of(b.load(server, *groups, warmup=b.args.neighbour_warmup, seconds=b.args.neighbour_seconds), "b")
    compare_p99(b, "dispatch_neighbour_topic", run, "A free / A free", "A over its limit / A free")


NOT_HELD, HELD = "Tidegate-load-1", "Pulsar-CPP-v4.2.0"  # by the client's version


def neighbour_of(b, name, over, paced, version=NOT_HELD, topics=1, warmup=0, goal="<= 1.05 or inside A/A"):
    """B on one connection with A, which is over its limit of 500/s (on so many topics, together); the control is A paced
    at it."""
    quiet = "name=b,rate=200,window=100"
    a_topics = [f"load-a-{i}" for i in range(topics)]

    def run(group, limited):
        with b.broker("os") as server:
            for topic in a_topics if limited and not b.args.against_itself else []:
                server.admin("PUT", topic_path(topic))
                server.admin("POST", topic_path(topic) + "/publishRate",
                             {"publishThrottlingRateInMsg": 500 // topics, "publishThrottlingRateInByte": -1})
            topic = ",topic=persistent://public/default/load-a-" + ("0" if topics == 1 else "%p")
            a, quiet_one = b.load(server, "--client-version", version, "--group", "name=a" + group + topic, "--group", quiet,
                                  warmup=max(warmup, b.args.neighbour_warmup),
                                  seconds=b.args.neighbour_seconds)["groups"]
            return {"p99_us": quiet_one["p99_us"], "a_messages_per_s": a["messages_per_s"]}
    over_group = paced if b.args.against_itself else over
    count = b.args.rounds if b.args.quick else max(10, b.args.rounds)
    r = b.rounds(name, {"paced": lambda: run(paced, False), "again": lambda: run(paced, False),
                        "over": lambda: run(over_group, True)}, count)
    a_rate = statistics.median(x["a_messages_per_s"] for x in r["over"])
    b.compare(name + " A/A", "A paced / A paced", r["again"], r["paced"], "p99_us", "us, B's p99", "")
    b.compare(name, "A over its limit / A paced at it", r["over"], r["paced"], "p99_us",
              "us, B's p99", goal, a_messages_per_s=a_rate)


@row
def neighbour(b):
    neighbour_of(b, "neighbour", ",window=1000", ",window=1000,rate=500")


@row
def neighbour1000(b):
    neighbour_of(b, "neighbour1000", ",producers=1000,window=2", ",producers=1000,window=2,rate=0.5")


def neighbour_held_of(b, count):
    """Windows of 4 s of the limits: held, until after two releases they are parked whole."""
    group = f",producers={count},window={2000 // count}"
    neighbour_of(b, f"neighbour_held{count}", group, f"{group},rate={500 / count:g}", HELD, count, warmup=8)


@row
def neighbour_held1(b):
    neighbour_held_of(b, 1)


@row
def neighbour_held10(b):
    neighbour_held_of(b, 10)


@row
def neighbour_held100(b):
    neighbour_held_of(b, 100)


@row
def neighbour_resent(b):
    """Windows of 20 s of the limits, which are never parked whole: each release has them sent again, 1 MB at a time."""
    group = ",producers=10,window=1000"
    neighbour_of(b, "neighbour_resent", group, group + ",rate=50", HELD, 10, goal="")
