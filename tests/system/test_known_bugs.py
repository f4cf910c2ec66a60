"""What is known to go wrong with publish limits in Apache Pulsar, one test each, by the number of its issue there where there is
one. Limits are such that no time passes within a test: one token an hour, or what a debt leaves."""
import harness
import pytest
import raw
from test_levels import HOUR, RATE, Sender, limit, put_group, sender, tenants  # noqa: F401 fixtures

HOURLY = {"publishThrottlingPeriodInMs": 3600000}
PATH = "/persistent/acme/a/x/publishRate"


def balance(s, kind="topic"):
    return next(scope["balanceInMsg"] for scope in s.explain()["scopes"] if scope["kind"] == kind)


@pytest.mark.parametrize("change", [("POST", limit(1000000)), ("POST", limit(-1)), ("DELETE", None)])
def test_25502_whoever_waits_goes_at_once_when_a_limit_is_raised_or_removed(tenants, sender, change):
    """There, producers wait on for what the old limit would have taken: hours."""
    one = sender("acme/a/x")
    tenants.ok("POST", PATH, limit(1, **HOURLY))
    one.send(5)
    one.expect(1)
    one.expect_reason("topic")
    tenants.ok(change[0], PATH, change[1])
    one.expect(4)
    one.expect_reason(None)


def test_a_change_of_a_limit_forgives_no_debt(tenants, sender):
    """There, a new bucket takes the place of the old one: whoever has overdrawn it starts again with all of a burst."""
    one = sender("acme/a/x")
    tenants.ok("POST", PATH, limit(1, **HOURLY))
    one.send(1, messages=1000)
    one.expect(1)
    for rate in (2, 3, 5):
        tenants.ok("POST", PATH, limit(rate, **HOURLY))
        assert -1000 <= balance(one) <= -998
    one.send(1)
    one.expect_reason("topic")


def test_a_change_of_a_limit_invents_no_tokens(tenants, sender):
    one = sender("acme/a/x")
    tenants.ok("POST", PATH, limit(10, publishThrottlingBurstInMsg=100, **HOURLY))
    one.send(10)  # a tenth of the burst is there at the start
    one.expect(10)
    assert balance(one) == 0
    for burst in (10, 1000, 100):
        tenants.ok("POST", PATH, limit(11, publishThrottlingBurstInMsg=burst, **HOURLY))
        assert balance(one) == 0


@pytest.mark.parametrize("kind, path", [("topic", PATH), ("producer", RATE), ("namespace", "/namespaces/acme/a/publishQuota"),
                                        ("tenant", "/tenants/acme/publishQuota"), ("resource group", None)])
def test_a_fresh_limit_does_not_pass_twice_its_rate(tenants, sender, kind, path):
    """There, it begins with a second's worth, and has brought another by the end of its first second."""
    one = sender("acme/a/x")
    if path:
        tenants.ok("POST", path, limit(1, publishThrottlingBurstInMsg=100, **HOURLY))
    else:
        put_group(tenants, 1, publishBurstInMsgs=100, **HOUR)
        tenants.ok("POST", "/tenants/acme/resourcegroup/gold")
    one.send(20)
    one.expect(10)
    one.expect_reason(kind)
    assert tenants.stats(one.topic)["msgInCounter"] in (10, 11)  # a part of a token lets the last one pass


def test_13538_only_the_topic_that_is_limited_says_so(tenants):
    """There, each topic of a connection that is not read counts as limited."""
    names = [f"persistent://acme/a/{n}" for n in ("x", "y")]
    for name in names:
        tenants.ok("PUT", "/" + harness.rest_path(name))
    tenants.ok("POST", PATH, limit(1, **HOURLY))
    with raw.Connection(tenants) as c:
        for i, name in enumerate(names):
            c.create_producer(name, producer_id=i + 1)
        for n in range(2):
            for i in (1, 2):
                c.write(raw.send(n, producer_id=i))
        for _ in range(3):
            c.expect(raw.SEND_RECEIPT)
        harness.wait_for(lambda: tenants.stats(names[0])["throttled"], what="x to be throttled")
        limited, free = (tenants.stats(n) for n in names)
        assert limited["publishRateLimitedTimes"] == 1 and limited["throttledReason"] == "topic"
        assert free["publishRateLimitedTimes"] == free["throttledTimes"] == 0 and not free["throttled"]
        assert c.is_open()  # and its pings are answered


def test_one_producer_let_go_does_not_let_go_another_of_its_connection(tenants):
    """There, the broker's limit is one mark on the connection: whoever is let go first clears it for all."""
    names = [f"persistent://acme/{n}/x" for n in "ab"]
    tenants.ok("POST", "/namespaces/acme/a/publishQuota", limit(1, **HOURLY))
    tenants.ok("POST", "/namespaces/acme/b/publishQuota", limit(1, **HOURLY))
    with raw.Connection(tenants) as c:
        for i, name in enumerate(names):
            c.create_producer(name, producer_id=i + 1)
        for n in range(2):
            for i in (1, 2):
                c.write(raw.send(n, producer_id=i))
        for _ in range(2):
            c.expect(raw.SEND_RECEIPT)
        for name in names:
            harness.wait_for(lambda: tenants.stats(name)["throttled"], what="both to be throttled")
        tenants.ok("DELETE", "/namespaces/acme/a/publishQuota")
        assert c.expect(raw.SEND_RECEIPT)[1] == [1]
        assert tenants.stats(names[1])["throttled"] and c.is_open()


def test_a_producer_that_is_new_in_a_group_gets_its_share(tenants, sender):
    """There, a broker that had no traffic of a group is given one message and one byte a second of it, and stays at that."""
    old, new = sender("acme/a/x"), sender("umbra/a/x")
    put_group(tenants, 1, **HOUR)
    for tenant in ("acme", "umbra"):
        tenants.ok("POST", f"/tenants/{tenant}/resourcegroup/gold")
    old.send(20)
    old.expect(1)
    old.expect_reason("resource group")
    new.send(2)
    new.expect_reason("resource group")
    put_group(tenants, 20, publishPeriodInMs=1000)
    new.expect(2)  # though the other has many waiting
    old.expect(19)


@pytest.mark.parametrize("crash", [False, True])
def test_15113_a_group_holds_for_the_first_message_after_a_restart(tenants, crash):
    """There, namespaces may be loaded before the groups that they name."""
    put_group(tenants, 1, **HOUR)
    tenants.ok("POST", "/tenants/acme/resourcegroup/gold")
    tenants.restart(crash)
    one = Sender(tenants, "acme/a/x")
    one.send(3)
    one.expect(1)
    one.expect_reason("resource group")
    one.connection.close()


def test_23921_what_a_lost_connection_had_in_flight_is_given_back(make_broker):
    """There, permits that leak stall all connections of an I/O thread."""
    b = make_broker("--workers", "1", config={"maxPendingPublishRequestsPerConnection": 2})
    topic = "persistent://public/default/x"
    for _ in range(20):
        c = raw.Connection(b)
        c.create_producer(topic)
        c.write(b"".join(raw.send(n) for n in range(30)))
        c.close()  # some are in flight, some not read
    with raw.Connection(b) as c:
        c.create_producer(topic)
        for n in range(200):
            c.write(raw.send(n))
        for n in range(200):
            assert c.expect(raw.SEND_RECEIPT).get(2, [0]) == [n]


def test_a_rate_on_a_partitioned_topic_is_of_each_partition_and_a_quota_of_all(tenants, sender):
    """There, only the first can be had: a hundred partitions get a hundred times the rate."""
    tenants.ok("PUT", "/persistent/acme/a/p/partitions", 3)
    tenants.ok("POST", "/persistent/acme/a/p/publishRate", limit(1, **HOURLY))
    parts = [sender(f"acme/a/p-partition-{i}") for i in range(3)]
    for p in parts:
        p.send(1)
        p.expect(1)
    tenants.ok("DELETE", "/persistent/acme/a/p/publishRate")
    tenants.ok("POST", "/persistent/acme/a/p/publishQuota", limit(1, **HOURLY))
    for p in parts:
        p.send(1)
    harness.wait_for(lambda: sum(p.reason() == "partitioned topic" for p in parts) == 2, what="two to wait")
    assert sum(tenants.stats(p.topic)["msgInCounter"] for p in parts) == 4
