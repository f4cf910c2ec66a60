"""Policies of dispatch and of subscribing, by REST and command line: set, inherited, kept, refused; and attempts to
subscribe over subscribeRate, which wait at the client and are let in later."""
import json
import re
import time

import harness
import pytest
import raw

NS = "/namespaces/acme/a"
TOPIC = "/persistent/acme/a/x"
FULL = "persistent://acme/a/x"
RATES = ("dispatchRate", "subscriptionDispatchRate")
RATE = {"dispatchThrottlingRateInMsg": 100, "dispatchThrottlingRateInByte": 5000, "relativeToPublishRate": True,
        "ratePeriodInSecond": 2}
ATTEMPTS = {"subscribeThrottlingRatePerConsumer": 2, "ratePeriodInSecond": 3600}
SERVICE_NOT_READY = 6


def get(b, path):
    answer = b.rest("GET", path)
    return answer.status, answer.json if answer.text else None


def make(b, partitioned=False):
    b.ok("PUT", "/tenants/acme", {"adminRoles": [], "allowedClusters": ["standalone"]})
    b.ok("PUT", NS)
    b.ok("PUT", TOPIC)
    if partitioned:
        b.ok("PUT", "/persistent/acme/a/parts/partitions", 2)
    return b


@pytest.mark.parametrize("crash", [False, True])
def test_rates_are_set_inherited_and_kept(make_broker, crash):
    b = make(make_broker(), partitioned=True)
    every = [(f"{where}/{what}", body) for where in (NS, TOPIC, "/persistent/acme/a/parts")
             for what, body in (*((r, RATE) for r in RATES), ("subscribeRate", ATTEMPTS))]
    for path, _ in every:
        assert get(b, path) in ((200, None), (204, None))
    for path, body in every:
        assert b.rest("POST", path, body).status == 204
    for _ in range(2):
        for path, body in every:
            assert get(b, path) == (200, body)
        by_cluster = b.ok("GET", NS)
        assert by_cluster["topicDispatchRate"] == {"standalone": RATE}
        assert by_cluster["subscriptionDispatchRate"] == {"standalone": RATE}
        assert by_cluster["clusterSubscribeRate"] == {"standalone": ATTEMPTS}
        b.restart(crash)
    for path, _ in every:
        assert b.rest("DELETE", path).status == 204
        assert get(b, path) in ((200, None), (204, None))
    assert b.ok("GET", NS)["topicDispatchRate"] == {}


@pytest.mark.parametrize("what, setting, field", [
    ("dispatchRate", "dispatchThrottlingRatePerTopicInMsg", "dispatchThrottlingRateInMsg"),
    ("subscriptionDispatchRate", "dispatchThrottlingRatePerSubscriptionInMsg", "dispatchThrottlingRateInMsg"),
    ("subscribeRate", "subscribeThrottlingRatePerConsumer", "subscribeThrottlingRatePerConsumer")])
def test_the_narrowest_applies(make_broker, what, setting, field):
    b = make(make_broker())
    applied = f"{TOPIC}/{what}?applied=true"
    b.ok("POST", f"/brokers/configuration/{setting}/7")
    assert b.ok("GET", applied)[field] == 7
    b.ok("POST", f"{NS}/{what}", {field: 8})
    assert b.ok("GET", applied)[field] == 8
    b.ok("POST", f"{TOPIC}/{what}", {field: 9})
    assert b.ok("GET", applied)[field] == 9
    b.ok("DELETE", f"{TOPIC}/{what}")
    b.ok("DELETE", f"{NS}/{what}")
    assert b.ok("GET", applied)[field] == 7
    b.ok("DELETE", f"/brokers/configuration/{setting}")
    assert get(b, applied) == (204, None)


def test_dispatch_quotas_are_kept_where_they_are_set(make_broker):
    b = make(make_broker(), partitioned=True)
    quota = {**RATE, "relativeToPublishRate": False, "weight": 3, "enforce": False, "dispatchThrottlingBurstInMsg": 10}
    places = ["/tenants/acme", NS, "/persistent/acme/a/parts"]
    for place in places:
        b.ok("POST", f"{place}/dispatchQuota", quota)
        refused = b.rest("POST", f"{place}/dispatchQuota", RATE)  # relative to what is published
        assert refused.status == 412 and "relativeToPublishRate" in refused.json["reason"]
    b.restart()
    for place in places:
        assert b.ok("GET", f"{place}/dispatchQuota") == quota
        b.ok("DELETE", f"{place}/dispatchQuota")
        assert get(b, f"{place}/dispatchQuota")[1] is None
    answer = b.rest("POST", f"{TOPIC}/dispatchQuota", quota)
    assert answer.status == 412 and "dispatchRate" in answer.json["reason"]


@pytest.mark.parametrize("what, body, status, names", [
    ("dispatchRate", {"publishThrottlingRateInMsg": 1}, 400, "dispatchThrottlingRateInMsg"),
    ("dispatchRate", {"dispatchThrottlingRateInMsg": "1"}, 400, "dispatchThrottlingRateInMsg"),
    ("dispatchRate", {"dispatchThrottlingRateInMsg": -2}, 412, "-2"),
    ("dispatchRate", {"dispatchThrottlingRateInMsg": 1, "ratePeriodInSecond": 3601}, 412, "3601"),
    ("subscriptionDispatchRate", {"dispatchThrottlingRateInMsg": 5, "dispatchThrottlingPeakInMsg": 4}, 412, "peak"),
    ("subscriptionDispatchRate", {"relativeToPublishRate": "yes"}, 400, "relativeToPublishRate"),
    ("subscribeRate", {"subscribeThrottlingRatePerConsumer": 1.5}, 400, "1.5"),
    ("subscribeRate", {"weight": 2}, 400, "weight")])
def test_what_can_not_be_is_refused_with_a_reason(make_broker, what, body, status, names):
    b = make(make_broker())
    for where in (NS, TOPIC):
        answer = b.rest("POST", f"{where}/{what}", body)
        assert answer.status == status and names in answer.json["reason"]
        assert get(b, f"{where}/{what}")[1] is None


def test_the_command_line_sets_gets_and_removes(make_broker):
    b = make(make_broker(), partitioned=True)
    rate = ("--msg-dispatch-rate", "100", "-bd", "5000", "-dt", "2", "-rp")
    for group, name in (("namespaces", "acme/a"), ("topics", FULL), ("topicPolicies", FULL)):
        for what in ("dispatch-rate", "subscription-dispatch-rate"):
            b.cli(group, f"set-{what}", name, *rate)
            assert json.loads(b.cli(group, f"get-{what}", name).stdout) == RATE
            b.cli(group, f"remove-{what}", name)
            assert json.loads(b.cli(group, f"get-{what}", name).stdout) is None
        b.cli(group, "set-subscribe-rate", name, "-sr", "2", "-st", "3600")
        assert json.loads(b.cli(group, "get-subscribe-rate", name).stdout) == ATTEMPTS
        b.cli(group, "remove-subscribe-rate", name)
    for group, name in (("namespaces", "acme/a"), ("tenants", "acme"), ("topics", "persistent://acme/a/parts")):
        b.cli(group, "set-dispatch-quota", name, "-md", "100", "--dry-run", "--weight", "4")
        quota = json.loads(b.cli(group, "get-dispatch-quota", name).stdout)
        assert (quota["dispatchThrottlingRateInMsg"], quota["weight"], quota["enforce"]) == (100, 4, False)
        b.cli(group, "remove-dispatch-quota", name)
    b.cli("namespaces", "set-dispatch-rate", "acme/a", "-md", "3")
    applied = b.cli("topicPolicies", "get-dispatch-rate", FULL, "--applied").stdout
    assert json.loads(applied)["dispatchThrottlingRateInMsg"] == 3
    refused = b.cli("topics", "set-dispatch-rate", FULL, check=False)
    assert refused.returncode != 0 and "--msg-dispatch-rate" in refused.stderr


# ---- of one subscription ----


@pytest.mark.parametrize("where", [TOPIC, "/persistent/acme/a/parts"])
def test_a_subscriptions_own_rate_is_narrower_than_its_topics_and_is_kept(make_broker, where):
    b = make(make_broker(), partitioned=True)
    own, of_each = {**RATE, "dispatchThrottlingRateInMsg": 7}, f"{where}/subscriptionDispatchRate"
    at = [f"{where}/{name}/dispatchRate" for name in ("s", "a%2Fb%20c")]
    assert get(b, at[0]) == get(b, at[0] + "?applied=true") == (204, None)
    assert b.rest("POST", of_each, RATE).status == 204
    assert get(b, at[0] + "?applied=true") == (200, RATE)
    for path in at:
        assert b.rest("POST", path, own).status == 204
    for crash in (False, True):
        assert [get(b, path) for path in at] == [(200, own)] * 2
        assert get(b, of_each) == (200, RATE)
        b.restart(crash)
    for path in at:
        assert b.rest("DELETE", path).status == 204
        assert get(b, path) == (204, None)
    b.restart()
    assert get(b, at[0]) == (204, None)
    assert get(b, at[0] + "?applied=true") == (200, RATE)


def test_a_rate_of_one_subscription_that_is_wrong_or_of_nothing_is_refused(make_broker):
    b = make(make_broker(), partitioned=True)
    assert b.rest("POST", f"{TOPIC}/s/dispatchRate", {"dispatchThrottlingRateInMsg": "x"}).status == 400
    assert b.rest("POST", f"{TOPIC}-not/s/dispatchRate", RATE).status == 404
    assert b.rest("POST", "/persistent/acme/a/parts-partition-0/s/dispatchRate", RATE).status == 412


def test_a_subscriptions_own_rate_on_the_command_line(make_broker):
    b = make(make_broker())

    def rate(*words):
        return json.loads(b.cli("topics", "get-subscription-dispatch-rate", FULL, *words).stdout)
    b.cli("topics", "set-subscription-dispatch-rate", FULL, "-s", "s 1", "-md", "5", "-dt", "2")
    assert rate() is None
    assert rate("-s", "s 1")["dispatchThrottlingRateInMsg"] == 5
    assert rate("-s", "s 2", "-ap") is None
    assert f"{FULL} s 1" in b.cli("events").stdout
    b.cli("topics", "remove-subscription-dispatch-rate", FULL, "-s", "s 1")
    assert rate("-s", "s 1") is None


# ---- subscribeRate ----

class Subscriber:
    """A consumer that comes again and again."""

    def __init__(self, broker, topic=FULL, consumer_id=1):
        self.broker, self.topic, self.consumer_id = broker, topic, consumer_id

    def attempt(self):
        """True: it is let in. It leaves again with its connection."""
        with raw.Connection(self.broker) as c:
            c.write(raw.frame(raw.SUBSCRIBE, {1: self.topic, 2: f"s{self.consumer_id}", 3: 1, 4: self.consumer_id, 5: 1,
                                              6: f"consumer-{self.consumer_id}"}))
            number, fields = c.read()[:2]
            if number == raw.ERROR:
                assert fields[2][0] == SERVICE_NOT_READY, fields
            return number == raw.SUCCESS


def test_attempts_over_the_rate_are_told_to_come_again(make_broker):
    b = make(make_broker("--workers", "2"))
    b.ok("POST", f"{NS}/subscribeRate", ATTEMPTS)
    one, other = Subscriber(b), Subscriber(b, consumer_id=2)
    assert [one.attempt() for _ in range(4)] == [True, True, False, False]
    assert other.attempt()  # each consumer has its own
    assert b.ok("GET", f"{TOPIC}/stats")["refusedSubscribes"] == 2
    b.ok("POST", f"{TOPIC}/subscribeRate", {"subscribeThrottlingRatePerConsumer": -1})  # live, and narrower
    assert [one.attempt() for _ in range(3)] == [True] * 3
    b.ok("DELETE", f"{TOPIC}/subscribeRate")
    b.ok("POST", f"{NS}/subscribeRate", {"subscribeThrottlingRatePerConsumer": 20, "ratePeriodInSecond": 1})
    harness.wait_for(one.attempt, what="the consumer to be let in at the new rate")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_storm_of_refused_attempts_does_not_fill_the_log(make_broker, workers):
    """A few lines a second for each reason; the others are counted, also when no more come."""
    b = make(make_broker("--workers", str(workers)))
    b.ok("POST", f"{TOPIC}/subscribeRate", {"subscribeThrottlingRatePerConsumer": 1, "ratePeriodInSecond": 3600})
    with raw.Connection(b) as owner, raw.Connection(b) as c:
        owner.write(raw.subscribe(FULL, "taken", sub_type=0))
        owner.expect(raw.SUCCESS)
        attempts = [raw.frame(raw.SUBSCRIBE, {1: FULL, 2: "s", 3: 1, 4: 1, 5: n, 6: "again"}) for n in range(301)]
        for frame in attempts[0], raw.frame(raw.CLOSE_CONSUMER, {1: 1, 2: 999}):
            c.write(frame)
            c.expect(raw.SUCCESS)
        for frame in attempts[1:]:
            c.write(frame)
            c.expect(raw.ERROR)
        c.write(raw.subscribe(FULL, "taken", consumer_id=2, request_id=1000, sub_type=0))
        c.expect(raw.ERROR)  # another reason has lines of its own

        def refused():
            lines = [x for x in b.log().split("\n") if "subscribeRate allows" in x]
            return len(lines), sum(map(int, re.findall(r"refused: .*subscribeRate.*?(\d+) lines kept back", b.log())))

        shown, kept_back = harness.wait_for(lambda: sum(r := refused()) >= 300 and r, what="what was kept back to be told")
        assert shown + kept_back == 300
        assert shown <= 50  # 5 a second
        assert "Exclusive consumer is already connected" in b.log()


def test_fifty_that_come_at_once_are_spaced_and_all_get_in(make_broker):
    """Each comes three times at once, then as often as it is let in: one at once, the others a second apart."""
    b = make(make_broker("--workers", "2"))
    b.ok("POST", "/brokers/configuration/subscribeThrottlingRatePerConsumer/1")
    b.ok("POST", "/brokers/configuration/subscribeRatePeriodPerConsumerInSecond/1")
    all_of_them = [Subscriber(b, consumer_id=i) for i in range(50)]
    times = {s.consumer_id: [] for s in all_of_them}
    end = time.monotonic() + 20 * harness.SLOWNESS
    while any(len(t) < 3 for t in times.values()):
        assert time.monotonic() < end
        for s in all_of_them:
            before = time.monotonic()
            if len(times[s.consumer_id]) < 3 and s.attempt():
                times[s.consumer_id].append((before, time.monotonic()))
    for t in times.values():
        assert all(b_[1] - a[0] >= 0.99 for a, b_ in zip(t, t[1:]))
