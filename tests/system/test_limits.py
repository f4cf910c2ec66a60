"""The administration of limits of many topics at once: kept, shown, given to every topic."""
import harness
import pytest
import raw

NS = "/namespaces/acme/east"
RATE = {"publishThrottlingRateInMsg": 1000, "publishThrottlingRateInByte": -1}
QUOTA = {"publishThrottlingRateInMsg": 5000, "publishThrottlingRateInByte": 10 ** 9, "publishThrottlingBurstInMsg": 70,
         "publishThrottlingPeriodInMs": 500}


@pytest.fixture
def east(broker):
    broker.ok("PUT", "/tenants/acme", {"adminRoles": [], "allowedClusters": ["standalone"]})
    broker.ok("PUT", NS)
    return broker


def rate_of(broker, topic):
    """What is in force where the topic lives."""
    scope = broker.ok("GET", f"/{harness.rest_path(topic)}/explain")["scopes"][0]
    return scope["rateInMsg"], scope["source"]


@pytest.mark.parametrize("crash", [False, True])
def test_rate_and_quota_of_a_namespace_are_kept_apart_and_survive(east, crash):
    assert east.rest("GET", NS + "/publishQuota").text == ""
    east.ok("POST", NS + "/publishRate", RATE)
    east.ok("POST", NS + "/publishQuota", QUOTA)
    for _ in range(2):
        assert east.ok("GET", NS + "/publishRate") == RATE
        assert east.ok("GET", NS + "/publishQuota") == QUOTA
        policies = east.ok("GET", NS)
        assert policies["publishQuota"] == QUOTA
        assert policies["publishMaxMessageRate"] == {"standalone": RATE}
        east.restart(crash)
    east.ok("DELETE", NS + "/publishRate")
    assert east.ok("GET", NS + "/publishQuota") == QUOTA
    east.ok("DELETE", NS + "/publishQuota")
    assert "publishQuota" not in east.ok("GET", NS)
    east.restart(crash)
    assert east.rest("GET", NS + "/publishQuota").text == east.rest("GET", NS + "/publishRate").text == ""


def test_a_namespace_without_policies_has_no_quota(east):
    for path in ("/namespaces/acme/west", "/namespaces/nobody/x"):
        for method in ("GET", "POST", "DELETE"):
            answer = east.rest(method, path + "/publishQuota", RATE if method == "POST" else None)
            assert answer.status == 404 and answer.json["reason"] == "Namespace does not exist"


def test_a_namespaces_rate_reaches_all_of_many_topics(east):
    """More than are given it in a turn; some of them live on other workers, some are made meanwhile."""
    names = [f"persistent://acme/east/t{i}" for i in range(1200)]
    for name in names:
        east.ok("PUT", "/" + harness.rest_path(name))
    connections = [raw.Connection(east) for _ in range(4)]
    for i, c in enumerate(connections):
        c.create_producer(names[i * 300])
    east.ok("POST", NS + "/publishRate", RATE)
    assert {rate_of(east, name) for name in names} == {(1000, "namespace policy")}
    late = "persistent://acme/east/late"
    connections[0].create_producer(late, producer_id=2)
    assert rate_of(east, late) == (1000, "namespace policy")
    east.ok("DELETE", NS + "/publishRate")
    assert {rate_of(east, name) for name in [*names, late]} == {(None, "none")}
    for c in connections:
        c.close()
