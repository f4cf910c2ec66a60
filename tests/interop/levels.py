"""The levels at which publishing is limited: where each is set, as an administrator does it, what it is the total of, and
producers there."""

LEVELS = ("producer", "topic", "partitioned topic", "namespace", "tenant", "resource group", "broker")  # narrowest first

# Where producers of a level are, below a tenant of its own (and for some a second one): each on its own connection.
PLACES = {
    "producer": ["{t}/a/x", "{t}/a/x"],
    "topic": ["{t}/a/x"] * 3,
    "partitioned topic": [f"{{t}}/a/p-partition-{i}" for i in range(4)],
    "namespace": [f"{{t}}/a/x{i}" for i in range(4)],
    "tenant": ["{t}/a/x0", "{t}/a/x1", "{t}/b/x0", "{t}/b/x1"],
    "resource group": ["{t}/a/x0", "{t}/a/x1", "{t}-2/a/x0", "{t}-2/b/x0"],
    "broker": ["{t}/a/x0", "{t}/a/x1", "{t}-2/a/x0", "{t}-2/b/x0"],
}
POLICIES = {  # of those that are set by a policy
    "producer": "/persistent/{t}/a/{x}/producerPublishRate",
    "topic": "/persistent/{t}/a/{x}/publishRate",
    "partitioned topic": "/persistent/{t}/a/p/publishQuota",
    "namespace": "/namespaces/{t}/a/publishQuota",
    "tenant": "/tenants/{t}/publishQuota",
}
BROKER_SETTINGS = {"messages": "brokerPublisherThrottlingMaxMessageRate", "bytes": "brokerPublisherThrottlingMaxByteRate"}
WORDS = {"messages": "Msg", "bytes": "Byte"}


def prepare(broker, level, tenant):
    """Makes the topics, each with a subscription that keeps what is published; returns them."""
    topics = [place.format(t=tenant) for place in PLACES[level]]
    for t in sorted({x.split("/")[0] for x in topics}):
        broker.ok("PUT", f"/tenants/{t}", {"adminRoles": [], "allowedClusters": ["standalone"]})
    for ns in sorted({x.rsplit("/", 1)[0] for x in topics}):
        broker.ok("PUT", f"/namespaces/{ns}")
    if level == "partitioned topic":
        broker.ok("PUT", f"/persistent/{tenant}/a/p/partitions", len(topics))
    for topic in sorted(set(topics)):
        if level != "partitioned topic":
            broker.ok("PUT", f"/persistent/{topic}")
        broker.ok("PUT", f"/persistent/{topic}/subscription/keep")
    return [f"persistent://{x}" for x in topics]


def set_limit(broker, level, tenant, rates, bursts=None, topic="x"):
    """rates, bursts: by "messages", "bytes"; what is not named is not limited, or has the usual burst of a second. topic:
    of the levels producer and topic."""
    bursts = bursts or {}
    if level == "broker":
        assert not bursts, "the broker's settings have no burst"
        for unit, name in BROKER_SETTINGS.items():
            broker.ok("POST", f"/brokers/configuration/{name}/{rates.get(unit, 0)}")
    elif level == "resource group":
        body = {f"publishRateIn{WORDS[u]}s": rates.get(u, -1) for u in WORDS}
        body |= {f"publishBurstIn{WORDS[u]}s": n for u, n in bursts.items()}
        broker.ok("PUT", f"/resourcegroups/{tenant}", body)
    else:
        body = {f"publishThrottlingRateIn{WORDS[u]}": rates.get(u, -1) for u in WORDS}
        body |= {f"publishThrottlingBurstIn{WORDS[u]}": n for u, n in bursts.items()}
        broker.ok("POST", POLICIES[level].format(t=tenant, x=topic), body)


def hang_group(broker, tenant):
    """On a namespace, and, where there is one, on all of another tenant: after the group was made."""
    broker.ok("POST", f"/namespaces/{tenant}/a/resourcegroup/{tenant}")
    if broker.rest("GET", f"/tenants/{tenant}-2").status == 200:
        broker.ok("POST", f"/tenants/{tenant}-2/resourcegroup/{tenant}")


def remove_limit(broker, level, tenant, topic="x"):
    """No trace is left, as far as limits go; who waits goes on at once."""
    if level == "broker":
        for name in BROKER_SETTINGS.values():
            broker.ok("DELETE", f"/brokers/configuration/{name}")
    elif level == "resource group":
        broker.ok("DELETE", f"/namespaces/{tenant}/a/resourcegroup")
        if broker.rest("GET", f"/tenants/{tenant}-2").status == 200:
            broker.ok("DELETE", f"/tenants/{tenant}-2/resourcegroup")
        broker.ok("DELETE", f"/resourcegroups/{tenant}")
    else:
        broker.ok("DELETE", POLICIES[level].format(t=tenant, x=topic))
