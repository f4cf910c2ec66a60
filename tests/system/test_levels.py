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
