"""Who waits for a limit of what is delivered, and why: in statistics, explain, limits, metrics, on the command line."""
import harness
import pytest
import raw
from test_dispatch import Consumer, fill, limit, none_may_go, path, subscription

KINDS = [("dispatchRate", "topic", "set-dispatch-rate"),
         ("subscriptionDispatchRate", "subscription", "set-subscription-dispatch-rate")]


@pytest.fixture
def waiting(broker, topic):
    """Makes a subscription wait for a limit, where one message may go and no other."""
    consumers = []

    def make(what):
        fill(broker, topic, 20)
        none_may_go(broker, topic, what)
        consumers.append(Consumer(broker, topic))
        consumers[0].take(1)
        return harness.wait_for(lambda: (s := subscription(broker, topic))["throttled"] and s)

    yield make
    for c in consumers:
        c.close()


@pytest.mark.parametrize("what,reason,command", KINDS)
def test_statistics_and_explain_say_who_waits_for_what(broker, topic, waiting, what, reason, command):
    s = waiting(what)
    assert s["throttledReason"] == reason and s["throttledSince"].endswith("Z")
    limiter = reason.capitalize()
    assert s[f"dispatchThrottledMsgEventsBy{limiter}Limit"] >= 1
    assert s[f"dispatchThrottledBytesEventsBy{limiter}Limit"] == 0
    got = broker.ok("GET", f"{path(topic)}/explain")
    assert not got["throttled"]  # its producers
    got = got["dispatch"]
    assert got["throttled"] and got["throttledSubscriptions"] == 1
    w = got["waiting"][0]
    assert (w["subscription"], w["reason"], w["backlog"]) == ("sub", reason, 20)
    assert s["throttledScope"] == w["scope"] and (reason != "topic" or w["scope"] == topic)
    binding = [x["kind"] for x in got["scopes"] if x["binding"]]
    assert binding == (["topic"] if reason == "topic" else [])
    limits = w["limit"] or next(x for x in got["scopes"] if x["binding"])
    assert limits["of"] == "dispatch" and command in limits["command"]
    for name in "public/default", "public", "127.0.0.1":
        text = broker.cli("explain", name).stdout
        assert f"subscription sub of {topic} has waited at {reason}" in text
    text = broker.cli("explain", topic).stdout
    assert f"subscription sub has waited at {reason}" in text and command in text


def test_a_subscription_with_many_consumers_of_a_client_is_one_that_waits(broker, topic):
    fill(broker, topic, 20)
    none_may_go(broker, topic)
    with raw.Connection(broker) as c:
        Consumer(broker, topic, sub_type=1, connection=c).take(1)
        for i in (2, 3):
            Consumer(broker, topic, sub_type=1, connection=c, consumer_id=i)
        harness.wait_for(lambda: subscription(broker, topic)["throttled"])
        got = broker.ok("GET", "/clients/127.0.0.1/explain")
    assert got["throttledSubscriptions"] == 1
    assert [w["subscription"] for w in got["waitingSubscriptions"]] == ["sub"]


def test_explain_of_a_topic_with_many_turns_worth_has_each_of_them_once(broker, topic):
    n = 330
    fill(broker, topic, 2)
    none_may_go(broker, topic)
    broker.set_rate(topic, 1, publishThrottlingPeriodInMs=3600000)
    with raw.Connection(broker) as c:
        c.write(b"".join(raw.subscribe(topic, f"s{i}", i, i) for i in range(n)))
        for _ in range(n):
            c.expect(raw.SUCCESS)
        c.write(b"".join(raw.flow(10, i) for i in range(n)))
        for i in range(n):
            c.write(raw.producer(topic, i, 1000 + i, name=f"p{i}") + raw.send(0, producer_id=i))
        everything = {f"p{i}" for i in range(n)}

        def got():
            x = broker.ok("GET", f"{path(topic)}/explain")
            return x["throttledProducers"] >= n - 1 and x["dispatch"]["throttledSubscriptions"] >= n - 1 and x

        x = harness.wait_for(got, what="all to wait")
    names = [w["producerName"] for w in x["waiting"]]
    assert len(names) == len(set(names)) == x["throttledProducers"] and set(names) <= everything
    names = [w["subscription"] for w in x["dispatch"]["waiting"]]
    assert len(names) == len(set(names)) == x["dispatch"]["throttledSubscriptions"]
    assert [s["binding"] for s in x["scopes"] if s["kind"] == "topic"] == [True]
    assert x["parkedMessages"] == x["throttledProducers"]


def test_the_command_that_would_help_keeps_the_rest_of_the_limit(broker, topic):
    broker.ok("PUT", path(topic))
    own = {"publishThrottlingRateInMsg": 10, "publishThrottlingRateInByte": 5000, "publishThrottlingBurstInMsg": 70,
           "publishThrottlingPeakInMsg": 15, "publishThrottlingPeakInByte": 6000, "weight": 3, "enforce": False}
    broker.ok("POST", f"{path(topic)}/publishRate", own)
    command = broker.ok("GET", f"{path(topic)}/explain")["scopes"][0]["command"]
    broker.cli(*command.split()[1:])
    got = broker.ok("GET", f"{path(topic)}/publishRate")
    assert {k: got[k] for k in own} == own | {"publishThrottlingRateInMsg": 20, "publishThrottlingRateInByte": 10000,
                                              "publishThrottlingPeakInMsg": 30, "publishThrottlingPeakInByte": 12000}
    broker.ok("POST", "/namespaces/public/default/dispatchQuota",
              {"dispatchThrottlingRateInMsg": 10, "dispatchThrottlingBurstInMsg": 99, "weight": 7})
    scopes = broker.ok("GET", f"{path(topic)}/explain")["dispatch"]["scopes"]
    command = next(s for s in scopes if s["kind"] == "namespace")["command"]
    broker.cli(*command.split()[1:])
    got = broker.ok("GET", "/namespaces/public/default/dispatchQuota")
    assert (got["dispatchThrottlingRateInMsg"], got["dispatchThrottlingBurstInMsg"], got["weight"]) == (20, 99, 7)


@pytest.mark.parametrize("what,reason,command", KINDS)
def test_limits_and_metrics_count_what_waits_and_was_delayed(broker, topic, waiting, what, reason, command):
    del command
    waiting(what)
    name = topic if reason == "topic" else f"{topic} sub"
    label = f'scope="{reason}",name="{name}",of="dispatch"'
    metrics = broker.rest("GET", "/metrics", base="").text
    assert f'tidegate_limit_waiting_subscriptions{{cluster="standalone",{label}}} 1' in metrics
    assert f'topic="{topic}"}} 1' in next(x for x in metrics.split("\n")
                                         if x.startswith("tidegate_throttled_subscriptions{"))
    limit(broker, topic, 1000, what=what)  # all that waited goes
    harness.wait_for(lambda: not subscription(broker, topic)["throttled"])
    assert subscription(broker, topic)["dispatchThrottledMsgCount"] >= 10
    of = "pulsar_dispatch" if reason == "topic" else "pulsar_subscription_dispatch"
    metrics = broker.rest("GET", "/metrics", base="").text
    count = next(x for x in metrics.split("\n") if x.startswith(f"{of}_throttled_msg_count{{"))
    assert int(count.rsplit(" ", 1)[1]) >= 10
    tree = broker.cli("limits", "tree").stdout
    assert "dispatch: broker" in tree and f"{reason} {name}" in tree


def test_a_quota_of_what_is_delivered_says_who_waits(broker, topic):
    fill(broker, topic, 20)
    broker.ok("POST", "/namespaces/public/default/dispatchQuota",
              {"dispatchThrottlingRateInMsg": 1, "ratePeriodInSecond": 3600})
    c = Consumer(broker, topic)
    c.take(1)
    s = harness.wait_for(lambda: (s := subscription(broker, topic))["throttled"] and s)
    assert s["throttledReason"] == "namespace"
    got = broker.ok("GET", f"{path(topic)}/explain")["dispatch"]
    assert [x["kind"] for x in got["scopes"] if x["binding"]] == ["namespace"]
    assert got["waiting"][0]["scope"] == "public/default" and got["waiting"][0]["limit"] is None
    got = broker.ok("GET", "/limits/namespaces/public/default")
    assert got["of"] == "publish" and got["waitingProducers"] == 0
    assert got["dispatch"]["waitingSubscriptions"] == 1 and got["dispatch"]["rateInMsg"] == 1
    c.close()


def test_a_producers_own_limit_names_the_command_that_raises_it(broker, topic):
    with raw.Connection(broker) as c:
        c.create_producer(topic)
        broker.ok("POST", f"{path(topic)}/producerPublishRate",
                  {"publishThrottlingRateInMsg": 1, "publishThrottlingRateInByte": -1})
        c.write(b"".join(raw.send(i, b"x") for i in range(5)))
        text = harness.wait_for(lambda: "set-producer-publish-rate" in (t := broker.cli("explain", topic).stdout) and t)
        assert "to raise its limit: tidegate topics set-producer-publish-rate" in text
        text = broker.cli("explain", "public/default").stdout
        assert "what would help: tidegate topics set-producer-publish-rate" in text


def test_what_is_set_below_a_dispatch_quota_counts_topics_without_a_limit(broker, topic):
    """One topic has no limit: what all of them add up to is not known, so it is no over-commitment."""
    for name, rate in ((f"{topic}-1", 800), (f"{topic}-2", None)):
        fill(broker, name, 1)
        if rate:
            limit(broker, name, rate)
    broker.ok("POST", "/namespaces/public/default/dispatchQuota", {"dispatchThrottlingRateInMsg": 400})
    got = broker.ok("GET", "/limits/namespaces/public/default")["dispatch"]["children"]
    assert (got["count"], got["limitedInMsg"], got["overcommitInMsg"]) == (2, 1, None)
    limit(broker, f"{topic}-2", 800)
    got = broker.ok("GET", "/limits/namespaces/public/default")["dispatch"]["children"]
    assert (got["count"], got["limitedInMsg"], got["overcommitInMsg"]) == (2, 2, 4)
