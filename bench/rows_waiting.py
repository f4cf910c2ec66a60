"""What it costs to let ten thousand producers wait."""
from harness import row

CONNECTIONS, PRODUCERS, RATE = 10, 10_000, 1  # messages/s of each producer
LIMIT = {"publishThrottlingRateInMsg": RATE, "publishThrottlingRateInByte": -1}
QUOTA = {"publishThrottlingRateInMsg": PRODUCERS * RATE, "publishThrottlingRateInByte": -1}
NAMESPACE = "/admin/v2/namespaces/public/default/"


@row
def producers10k(b):
    """Ten thousand producers, each with a topic of its own and always two frames outstanding, that a
    limit of each topic, or a quota of their namespace, holds at 1 message/s; against the same
    traffic sent at that pace by the clients, without a limit. They begin one by one over a second:
    all at once they would be served all at once, each second, and cost next to nothing."""
    each = f"producers={PRODUCERS // CONNECTIONS},window=2,spread=1"

    def run(policy=None, body=None):
        with b.broker("os") as server:
            if policy and not b.args.against_itself:
                server.admin("POST", NAMESPACE + policy, body)
            paced = "" if policy and not b.args.against_itself else f",rate={RATE}"
            return b.load(server, "--connections", str(CONNECTIONS), "--group", each + paced,
                          warmup=3, seconds=5)
    r = b.rounds("producers10k", {
        "paced": run, "again": run, "limits": lambda: run("publishRate", LIMIT),
        "quota": lambda: run("publishQuota", QUOTA)})
    for name, key in (("producers10k A/A", "again"), ("producers10k", "limits"),
                      ("producers10k quota", "quota")):
        b.compare(name + " rate", f"{key} / paced by the clients", r[key], r["paced"],
                  "messages_per_s", "messages/s", "")
        more = [(x["target_cpu"] - y["target_cpu"]) * 100 for x, y in zip(r[key], r["paced"])]
        b.alone(name, f"{key}: CPU beyond the same traffic paced by the clients", more,
                "% of a core", "<= 5")
