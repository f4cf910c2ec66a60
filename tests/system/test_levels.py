"""Each level at which publishing can be limited, alone and with others, by the raw protocol: who is held up, by what,
and that a change is in force at once for those who wait."""
import harness
import pytest
import raw

NONE = -1


def limit(messages=NONE, bytes_=NONE, **more):
    return {"publishThrottlingRateInMsg": messages, "publishThrottlingRateInByte": bytes_, **more}


@pytest.fixture
def tenants(make_broker):
    """Four workers; tenants acme and umbra, each with namespaces a and b."""
    b = make_broker("--workers", "4")
    for tenant in ("acme", "umbra"):
        b.ok("PUT", f"/tenants/{tenant}", {"adminRoles": [], "allowedClusters": ["standalone"]})
        for ns in "ab":
            b.ok("PUT", f"/namespaces/{tenant}/{ns}")
    return b


class Sender:
    """A producer on a connection of its own: so on a worker of its own, where there are several."""

    def __init__(self, broker, topic):
        self.broker, self.topic = broker, f"persistent://{topic}"
        self.connection = raw.Connection(broker)
        self.connection.create_producer(self.topic)
        self.sent = 0

    def send(self, count=1, **fields):
        for _ in range(count):
            self.connection.write(raw.send(self.sent, **fields))
            self.sent += 1

    def expect(self, count):
        for _ in range(count):
            self.connection.expect(raw.SEND_RECEIPT)

    def explain(self):
        return self.broker.ok("GET", f"/{harness.rest_path(self.topic)}/explain")

    def reason(self):
        """What its first producer waits for; None: nothing."""
        waiting = self.explain()["waiting"]
        return waiting[0]["reason"] if waiting else None

    def expect_reason(self, reason):
        harness.wait_for(lambda: self.reason() == reason, what=f"{self.topic} to wait for: {reason}")


@pytest.fixture
def sender(tenants):
    made = []

    def make(topic):
        made.append(Sender(tenants, topic))
        return made[-1]
    yield make
    for s in made:
        s.connection.close()


def test_a_tenants_quota_holds_for_all_its_namespaces_and_no_others(tenants, sender):
    one, two, other = sender("acme/a/x"), sender("acme/b/x"), sender("umbra/a/x")
    tenants.ok("POST", "/tenants/acme/publishQuota", limit(1, publishThrottlingPeriodInMs=3600000))
    one.send(4)
    two.send(4)
    other.send(4)
    other.expect(4)
    harness.wait_for(lambda: "tenant" in (one.reason(), two.reason()), what="one to wait")
    assert {one.reason(), two.reason()} <= {"tenant", None}
    tenants.ok("DELETE", "/tenants/acme/publishQuota")
    one.expect(4)
    two.expect(4)
    one.expect_reason(None)
    two.expect_reason(None)


# ---- resource groups ----

GROUP = "/resourcegroups/gold"
HOUR = {"publishPeriodInMs": 3600000}  # one message, and no other in any test


def put_group(broker, messages, **more):
    broker.ok("PUT", GROUP, {"publishRateInMsgs": messages, **more})


def group_scopes(broker, topic):
    scopes = broker.ok("GET", f"/{harness.rest_path(topic)}/explain")["scopes"]
    return [(s["name"], s["rateInMsg"], s["source"]) for s in scopes if s["kind"] == "resource group"]


@pytest.mark.parametrize("first, second", [("/namespaces/acme/a", "/namespaces/umbra/b"), ("/tenants/acme", "/tenants/umbra"),
                                           ("/namespaces/acme/a", "/tenants/umbra")])
def test_a_group_holds_for_all_that_it_is_hung_on_and_no_others(tenants, sender, first, second):
    one, two, other = sender("acme/a/x"), sender("umbra/b/x"), sender("public/default/x")
    put_group(tenants, 1, **HOUR)
    tenants.ok("POST", first + "/resourcegroup/gold")
    tenants.ok("POST", second + "/resourcegroup/gold")
    for s in (one, two, other):
        s.send(4)
    other.expect(4)
    harness.wait_for(lambda: one.reason() == two.reason() == "resource group" or None not in (one.reason(), two.reason()),
                     what="both to wait")
    assert {one.reason(), two.reason()} == {"resource group"}
    assert one.explain()["waiting"][0]["scope"] == "gold"
    put_group(tenants, -1)
    one.expect(4)
    two.expect(4)
    one.expect_reason(None)


def test_a_group_is_hung_on_and_taken_off_while_producers_wait(tenants, sender):
    """The chain of each topic changes where it lives; who waits for the old one waits for the new one."""
    senders = [sender(f"acme/{ns}/{i}") for ns in "ab" for i in range(3)]
    put_group(tenants, 1, **HOUR)
    for _ in range(3):
        tenants.ok("POST", "/tenants/acme/resourcegroup/gold")
        for s in senders:
            s.send(3)
        for s in senders[1:]:
            s.expect_reason("resource group")
        tenants.ok("POST", "/tenants/acme/publishQuota", limit(1, publishThrottlingPeriodInMs=3600000))
        tenants.ok("DELETE", "/tenants/acme/resourcegroup")
        for s in senders[1:]:
            s.expect_reason("tenant")
        tenants.ok("DELETE", "/tenants/acme/publishQuota")
        for s in senders:
            s.expect(3)
            s.expect_reason(None)
        put_group(tenants, -1)
        put_group(tenants, 1, **HOUR)


def test_groups_of_namespace_and_tenant_are_both_on_the_path_the_same_one_once(tenants, sender):
    one = sender("acme/a/x")
    put_group(tenants, 100)
    tenants.ok("PUT", "/resourcegroups/silver", {"publishRateInMsgs": 7})
    tenants.ok("POST", "/namespaces/acme/a/resourcegroup/gold")
    tenants.ok("POST", "/tenants/acme/resourcegroup/silver")
    gold, silver = ("gold", 100, "resource group"), ("silver", 7, "resource group")
    assert group_scopes(tenants, one.topic) == [gold, silver]
    tenants.ok("POST", "/tenants/acme/resourcegroup/gold")
    assert group_scopes(tenants, one.topic) == [gold]
    tenants.ok("DELETE", "/namespaces/acme/a/resourcegroup")
    assert group_scopes(tenants, one.topic) == [gold]
    tenants.ok("DELETE", "/tenants/acme/resourcegroup")
    assert group_scopes(tenants, one.topic) == []


@pytest.mark.parametrize("crash", [False, True])
def test_groups_and_what_they_are_hung_on_survive(tenants, crash):
    put_group(tenants, 5, publishBurstInMsgs=9)
    tenants.ok("POST", "/namespaces/acme/a/resourcegroup/gold")
    tenants.ok("PUT", "/resourcegroups/silver", {})
    tenants.ok("POST", "/tenants/umbra/resourcegroup/silver")
    tenants.ok("POST", "/tenants/umbra", {"adminRoles": ["x"], "allowedClusters": ["standalone"]})
    tenants.ok("POST", "/namespaces/acme/a/publishRate", limit(3))
    for _ in range(2):
        assert sorted(tenants.ok("GET", "/resourcegroups")) == ["gold", "silver"]
        assert tenants.ok("GET", GROUP) == {"publishRateInMsgs": 5, "publishRateInBytes": -1, "dispatchRateInMsgs": -1,
                                            "dispatchRateInBytes": -1, "publishBurstInMsgs": 9}
        assert tenants.rest("GET", "/namespaces/acme/a/resourcegroup").text == "gold"
        assert tenants.ok("GET", "/namespaces/acme/a")["resource_group_name"] == "gold"
        assert tenants.rest("GET", "/tenants/umbra/resourcegroup").text == "silver"
        assert tenants.rest("DELETE", GROUP).status == 412
        tenants.restart(crash)
    tenants.ok("DELETE", "/namespaces/acme/a/resourcegroup")
    tenants.ok("DELETE", "/tenants/umbra/resourcegroup")
    tenants.ok("DELETE", GROUP)
    tenants.ok("DELETE", "/resourcegroups/silver")
    tenants.restart(crash)
    assert tenants.ok("GET", "/resourcegroups") == []
    assert tenants.rest("GET", "/namespaces/acme/a/resourcegroup").status == 204


def test_deleting_a_namespace_or_tenant_takes_its_group_off(tenants):
    put_group(tenants, 5)
    tenants.ok("POST", "/namespaces/acme/a/resourcegroup/gold")
    tenants.ok("POST", "/tenants/acme/resourcegroup/gold")
    tenants.ok("DELETE", "/namespaces/acme/a")
    assert tenants.rest("DELETE", GROUP).json["reason"] == "ResourceGroup is in use"
    tenants.ok("DELETE", "/namespaces/acme/b")
    tenants.ok("DELETE", "/tenants/acme")
    tenants.ok("DELETE", GROUP)


@pytest.mark.parametrize("path", ["/resourcegroups/pip", "/resourcegroup/pip"])
def test_what_pip_82_calls_it_is_understood_and_todays_names_answered(tenants, path):
    tenants.ok("PUT", path, {"publishRateInmsgs": 10, "PublishRateInbytes": 20, "DispatchRateInmsgs": 30, "DispatchRateInbytes": 40})
    want = {"publishRateInMsgs": 10, "publishRateInBytes": 20, "dispatchRateInMsgs": 30, "dispatchRateInBytes": 40}
    assert tenants.ok("GET", path) == want
    tenants.ok("PUT", path, {"publishRatelimitinmsgs": -1, "PublishRateInbytes": None})
    assert tenants.ok("GET", path) == {**want, "publishRateInMsgs": -1}
    assert tenants.ok("GET", "/resourcegroup") == ["pip"]
    tenants.ok("PUT", "/namespaces/acme/a/resourcegroup/pip")
    tenants.ok("PUT", "/tenants/acme/resourcegroup/pip")
    assert tenants.rest("GET", "/namespaces/acme/a/resourcegroup").text == "pip"


@pytest.mark.parametrize("method, path, body, status, said", [
    ("GET", GROUP, None, 404, "ResourceGroup does not exist"),
    ("DELETE", GROUP, None, 404, "ResourceGroup does not exist"),
    ("POST", "/namespaces/acme/a/resourcegroup/none", None, 412, "ResourceGroup does not exist"),
    ("POST", "/tenants/acme/resourcegroup/none", None, 412, "ResourceGroup does not exist"),
    ("POST", "/namespaces/acme/none/resourcegroup/none", None, 404, "Namespace does not exist"),
    ("GET", "/tenants/none/resourcegroup", None, 404, "Tenant does not exist"),
    ("PUT", "/resourcegroups/a%20b", {}, 412, "name is not valid"),
    ("PUT", GROUP, {"publishRateInMsg": 1}, 400, "no field of a resource group"),
    ("PUT", GROUP, {"publishRateInMsgs": "1"}, 400, "a whole number"),
    ("PUT", GROUP, {"publishRateInMsgs": -2}, 412, "-1 to"),
    ("PUT", GROUP, {"publishRateInMsgs": 5, "publishPeakInMsgs": 4}, 412, "peak"),
    ("PUT", GROUP, [], 400, "an object"),
    ("PUT", GROUP, None, 400, "an object"),
])
def test_requests_about_groups_that_are_refused(tenants, method, path, body, status, said):
    answer = tenants.rest(method, path, body)
    assert answer.status == status and said in answer.json["reason"], answer
    assert tenants.ok("GET", "/resourcegroups") == []


# ---- a partitioned topic's quota ----

def test_a_partitioned_topics_quota_is_of_all_partitions_wherever_they_are(tenants, sender):
    tenants.ok("PUT", "/persistent/acme/a/parts/partitions", 4)
    parts = [sender(f"acme/a/parts-partition-{i}") for i in range(4)]
    other = sender("acme/a/other")
    tenants.ok("POST", "/persistent/acme/a/parts/publishQuota", limit(1, publishThrottlingPeriodInMs=3600000))
    for s in (*parts, other):
        s.send(4)
    other.expect(4)
    harness.wait_for(lambda: all(s.reason() for s in parts), what="all to wait")
    assert {s.reason() for s in parts} == {"partitioned topic"}
    assert tenants.ok("GET", "/persistent/acme/a/parts/publishQuota")["publishThrottlingRateInMsg"] == 1
    tenants.ok("DELETE", "/persistent/acme/a/parts/publishQuota")
    for s in parts:
        s.expect(4)
        s.expect_reason(None)
    assert tenants.rest("GET", "/persistent/acme/a/parts/publishQuota").status == 204


def test_a_partitioned_topics_quota_survives_and_is_of_no_other_topic(tenants):
    tenants.ok("PUT", "/persistent/acme/a/parts-partition-0")  # only called like one, so far
    tenants.ok("PUT", "/persistent/acme/a/q/partitions", 2)
    tenants.ok("POST", "/persistent/acme/a/q/publishQuota", limit(9))
    tenants.ok("POST", "/persistent/acme/a/q/publishRate", limit(8))
    tenants.ok("POST", "/persistent/acme/a/q/partitions", 3)
    for _ in range(2):
        for i in range(3):
            scopes = tenants.ok("GET", f"/persistent/acme/a/q-partition-{i}/explain")["scopes"]
            assert [(s["kind"], s["rateInMsg"]) for s in scopes[:2]] == [("topic", 8), ("partitioned topic", 9)]
        tenants.restart(crash=True)
    assert tenants.rest("GET", "/persistent/acme/a/parts-partition-0/publishQuota").status == 412
    tenants.ok("DELETE", "/persistent/acme/a/q/partitions")
    tenants.ok("PUT", "/persistent/acme/a/q/partitions", 2)
    assert tenants.rest("GET", "/persistent/acme/a/q/publishQuota").status == 204


# ---- the rate of one producer ----

RATE = "/persistent/acme/a/x/producerPublishRate"


def two_on_one_connection(broker, topic):
    c = raw.Connection(broker)
    c.create_producer(topic, producer_id=1)
    c.create_producer(topic, producer_id=2)
    return c


def waiting(broker, topic):
    return {w["producerName"]: w["reason"] for w in broker.ok("GET", f"/{harness.rest_path(topic)}/explain")["waiting"]}


@pytest.mark.parametrize("path, source", [(RATE, "topic policy"), ("/namespaces/acme/a/producerPublishRate", "namespace policy")])
def test_a_producers_rate_holds_for_each_of_them_alone(tenants, path, source):
    topic = "persistent://acme/a/x"
    tenants.ok("PUT", "/" + harness.rest_path(topic))
    hour = limit(1, publishThrottlingPeriodInMs=3600000)
    tenants.ok("POST", path, hour)
    assert tenants.ok("GET", path) == hour
    assert tenants.ok("GET", RATE + "?applied=true") == hour
    with two_on_one_connection(tenants, topic) as c:
        for i in range(2):  # one is parked; more would make the socket rest
            c.write(raw.send(i, producer_id=1))
        c.expect(raw.SEND_RECEIPT)
        harness.wait_for(lambda: list(waiting(tenants, topic).values()) == ["producer"], what="one to wait")
        c.write(raw.send(0, producer_id=2))
        c.expect(raw.SEND_RECEIPT)  # it has a limit of its own, which has its first token
        c.write(raw.send(1, producer_id=2))
        harness.wait_for(lambda: list(waiting(tenants, topic).values()) == ["producer"] * 2, what="both to wait")
        tenants.ok("DELETE", path)
        for _ in range(2):
            c.expect(raw.SEND_RECEIPT)
        harness.wait_for(lambda: not waiting(tenants, topic), what="nobody to wait")


def test_the_narrowest_policy_of_a_producers_rate_wins_and_all_survive(tenants):
    x, y = "/persistent/acme/a/x", "/persistent/acme/a/y"
    tenants.ok("PUT", x)
    tenants.ok("PUT", y + "/partitions", 1)
    tenants.ok("POST", "/brokers/configuration/maxPublishRatePerProducerInMessages/5")
    for rate, path in ((5, None), (6, "/namespaces/acme/a"), (7, x), (8, y)):
        if path:
            tenants.ok("POST", path + "/producerPublishRate", limit(rate))
        for _ in range(2 if rate == 8 else 1):
            applied = [tenants.ok("GET", p + "/producerPublishRate?applied=true")["publishThrottlingRateInMsg"] for p in (x, y)]
            assert applied == {5: [5, 5], 6: [6, 6], 7: [7, 6], 8: [7, 8]}[rate]
            if rate == 8:
                tenants.restart(crash=True)
    tenants.ok("DELETE", y + "/producerPublishRate")
    assert tenants.rest("GET", y + "/producerPublishRate").status == 204


@pytest.mark.parametrize("outer", ["topic", "namespace"])
def test_a_producer_within_its_rate_waits_for_what_is_further_out(tenants, sender, outer):
    """And the other way round: reasons come and go as limits do."""
    one = sender("acme/a/x")
    hour = limit(1, publishThrottlingPeriodInMs=3600000)
    path = {"topic": "/persistent/acme/a/x/publishRate", "namespace": "/namespaces/acme/a/publishQuota"}[outer]
    tenants.ok("POST", RATE, hour)
    tenants.ok("POST", path, hour)
    one.send(6)
    one.expect(1)
    one.expect_reason("producer")
    tenants.ok("POST", RATE, limit(1000))
    one.expect_reason(outer)
    tenants.ok("POST", RATE, hour)
    tenants.ok("DELETE", path)
    one.expect_reason("producer")
    tenants.ok("DELETE", RATE)
    one.expect(5)
    one.expect_reason(None)


# ---- dry runs and weights ----

SCOPES = {"topic": "/persistent/acme/a/x/publishRate", "producer": RATE, "namespace": "/namespaces/acme/a/publishQuota",
          "tenant": "/tenants/acme/publishQuota"}


@pytest.mark.parametrize("kind", SCOPES)
def test_a_dry_run_holds_up_nobody_and_says_whom_it_would_have(tenants, sender, kind):
    one, other = sender("acme/a/x"), sender("umbra/a/x")
    path = SCOPES[kind]
    tenants.ok("POST", path, limit(10, publishThrottlingBurstInMsg=1, enforce=False))
    assert tenants.ok("GET", path)["enforce"] is False
    one.send(50)
    one.expect(50)
    other.send(50)
    other.expect(50)
    one.expect_reason(None)
    would = one.explain()["wouldWait"]
    assert len(would) == 1 and would[0]["producerName"] and 30 <= would[0]["frames"] < 50
    assert other.explain()["wouldWait"] == []
    if kind != "producer":
        scope = next(s for s in one.explain()["scopes"] if s["kind"] == kind)
        assert scope["enforced"] is False
        assert scope["wouldThrottle"]["messages"] == would[0]["frames"]
        assert scope["wouldThrottle"]["ms"] == 100 * would[0]["frames"]
    tenants.ok("POST", path, limit(1, publishThrottlingPeriodInMs=3600000))
    one.send(3)
    one.expect_reason(kind)
    tenants.ok("POST", path, limit(1, publishThrottlingPeriodInMs=3600000, enforce=False))
    one.expect(3)  # those who wait go at once
    one.expect_reason(None)


def test_a_policy_may_be_a_weight_alone(tenants):
    for path in (SCOPES["namespace"], SCOPES["tenant"]):
        tenants.ok("POST", path, {"weight": 5})
        assert tenants.ok("GET", path) == limit(weight=5)
    tenants.cli("tenants", "set-publish-quota", "acme", "--weight", "7", "--dry-run")
    assert tenants.ok("GET", SCOPES["tenant"]) == limit(weight=7, enforce=False)
    for bad in ({"weight": 0}, {"weight": 1001}, {"weight": "1"}, {"enforce": 1}):
        assert tenants.rest("POST", SCOPES["tenant"], bad).status in (400, 412)


# ---- a connection's messages in flight ----

def test_a_connection_rests_at_its_limit_in_flight_and_all_is_acknowledged(make_broker):
    """Nothing is lost or reordered by it, whatever the limit and wherever the topics live."""
    for config in ({"maxPendingPublishRequestsPerConnection": 1}, {"maxPendingPublishRequestsPerConnection": 7},
                   {"maxPendingPublishRequestsPerConnection": 0, "tidegateMaxPendingPublishBytesPerConnection": 100}):
        b = make_broker("--workers", "4", config=config)
        holders = [raw.Connection(b) for _ in range(4)]
        for i, c in enumerate(holders):
            c.create_producer(f"persistent://public/default/t{i}")  # one on each worker
        with raw.Connection(b) as c:
            for i in range(4):
                c.create_producer(f"persistent://public/default/t{i}", producer_id=i + 10)
            for n in range(100):
                for i in range(4):
                    c.write(raw.send(n, producer_id=i + 10, body=b"y" * 60))
            got = {i + 10: [] for i in range(4)}
            for _ in range(400):
                receipt = c.expect(raw.SEND_RECEIPT)
                got[receipt[1][0]].append(receipt.get(2, [0])[0])
            assert all(ids == list(range(100)) for ids in got.values())
            assert c.is_open()
        for c in holders:
            c.close()
        assert b.stop() == 0
