"""Limits on what is delivered: of a subscription, of a topic for all its subscriptions, of quotas; what happens to those
who wait when limits, consumers or quotas change meanwhile. Whether limits are exact is for tests/interop; here a rate of
one message an hour stands for "none may go", and one that is huge for "all may"."""
import re
import struct
import threading
import time

import harness
import pytest
import raw

HOUR = {"ratePeriodInSecond": 3600}


def path(topic):
    return f"/{harness.rest_path(topic)}"


def limit(broker, topic, messages=-1, bytes_=-1, what="dispatchRate", **more):
    broker.ok("POST", f"{path(topic)}/{what}", {"dispatchThrottlingRateInMsg": messages,
                                                 "dispatchThrottlingRateInByte": bytes_, **more})


def let_pass(broker, topic, messages):
    """So many and one more, where bursts are full at first (full_bursts): what accrues within a test is a fraction of a
    token, and one message may overdraw it."""
    limit(broker, topic, messages, dispatchThrottlingBurstInMsg=messages, **HOUR)


def none_may_go(broker, topic, what="dispatchRate"):
    """A message passes, since a limit starts with one; no other does."""
    limit(broker, topic, 1, what=what, **HOUR)


def no_limit(broker, topic, what="dispatchRate"):
    broker.ok("DELETE", f"{path(topic)}/{what}")


def fill(broker, topic, n, size=10, messages=1):
    with raw.Connection(broker) as c:
        c.create_producer(topic)
        c.write(b"".join(raw.send(i, b"x" * size, messages=messages) for i in range(n)))
        for _ in range(n):
            c.expect(raw.SEND_RECEIPT)


class Consumer:
    """Subscribes, with permits for all, and notes which entries came when."""

    def __init__(self, broker, topic, name="sub", sub_type=0, permits=1 << 20, connection=None, consumer_id=1):
        self.c = connection or raw.Connection(broker)
        self.id = consumer_id
        self.came = []
        self.c.write(raw.subscribe(topic, name, consumer_id, sub_type=sub_type))
        assert self.c.expect(raw.SUCCESS)
        if permits:
            self.c.write(raw.flow(permits, consumer_id))

    def take(self, n, seconds=10):
        """The next <n> entries' ids."""
        ids = []
        while len(ids) < n:
            number, fields, _ = self.c.read(seconds)
            assert number == raw.MESSAGE, number
            ids.append(raw.decode(fields[2][0])[2][0])
            self.came.append(time.monotonic())
        return ids

    def gets_nothing(self, seconds=0.15):
        try:
            got = self.c.read(seconds)
        except TimeoutError:
            return True
        raise AssertionError(got)

    def close(self):
        self.c.close()


def cache_bytes(broker):
    text = broker.rest("GET", "/metrics", base="").text
    return int(re.search(r'tidegate_memory_bytes{kind="cache"} (\d+)', text)[1])


def subscription(broker, topic, name="sub"):
    return broker.stats(topic)["subscriptions"][name]


LIMITS = ["dispatchRate", "subscriptionDispatchRate"]


@pytest.mark.parametrize("what", LIMITS)
def test_who_has_no_tokens_waits_and_goes_on_in_order_when_the_limit_goes(broker, topic, what):
    fill(broker, topic, 300)
    none_may_go(broker, topic, what)
    c = Consumer(broker, topic)
    assert c.take(1) == [0]
    assert c.gets_nothing()
    no_limit(broker, topic, what)
    assert c.take(299) == list(range(1, 300))
    c.close()


@pytest.mark.parametrize("what", LIMITS)
def test_a_limit_lowered_and_raised_holds_at_once(broker, topic, what):
    fill(broker, topic, 2000)
    limit(broker, topic, 100, what=what)
    c = Consumer(broker, topic)
    c.take(30)  # 10 at once, the rest at the rate
    limit(broker, topic, 1000, what=what)
    begin = time.monotonic()
    c.take(500)
    assert time.monotonic() - begin < 2
    none_may_go(broker, topic, what)
    time.sleep(0.1)
    while True:  # what was on its way
        try:
            c.c.read(0.1)
        except TimeoutError:
            break
    assert c.gets_nothing()
    c.close()


def full_bursts(make_broker, *options):
    """A limit that is set has its whole burst."""
    return make_broker(*options, config={"tidegateInitialBurstPercent": 100})


def count_until_quiet(connections, seconds=0.15):
    """How many messages come on these, until none does."""
    n = 0
    for c in connections:
        while True:
            try:
                n += c.read(seconds)[0] == raw.MESSAGE
            except TimeoutError:
                break
    return n


@pytest.mark.parametrize("workers", ["1", "2"])
def test_subscriptions_never_spend_the_same_tokens(make_broker, topic, workers):
    broker = full_bursts(make_broker, "--workers", workers)
    fill(broker, topic, 100)
    let_pass(broker, topic, 50)
    consumers = [Consumer(broker, topic, name=f"s{i}", permits=0, sub_type=i % 2) for i in range(8)]
    for c in consumers:
        c.c.write(raw.flow(1000))
    got = [count_until_quiet([c.c]) for c in consumers]
    assert sum(got) == 51
    no_limit(broker, topic)
    for c, n in zip(consumers, got, strict=True):
        assert c.take(100 - n) == list(range(n, 100))
        c.close()


def test_bytes_count_as_for_publishing_and_one_entry_may_overdraw(make_broker, topic):
    broker = full_bursts(make_broker)
    fill(broker, topic, 20, size=1000)
    size = broker.stored()[0]["bytes"] - 4
    limit(broker, topic, bytes_=10 * size + 1, dispatchThrottlingBurstInByte=10 * size + 1, **HOUR)
    c = Consumer(broker, topic)
    assert count_until_quiet([c.c]) == 11
    c.close()


@pytest.mark.parametrize("as_one", [False, True])
def test_a_batch_counts_its_messages_or_one(make_broker, topic, as_one):
    broker = full_bursts(make_broker)
    broker.ok("POST", f"/brokers/configuration/dispatchThrottlingOnBatchMessageEnabled/{str(as_one).lower()}")
    fill(broker, topic, 40, messages=10)
    let_pass(broker, topic, 25)
    c = Consumer(broker, topic)
    assert count_until_quiet([c.c]) == (26 if as_one else 3)
    c.close()


def test_what_is_delivered_again_costs_as_much_once(make_broker, topic):
    broker = full_bursts(make_broker)
    fill(broker, topic, 5)
    let_pass(broker, topic, 12)
    c = Consumer(broker, topic, sub_type=1)
    for wanted in (5, 5, 3):
        assert count_until_quiet([c.c]) == wanted
        c.c.write(raw.frame(raw.REDELIVER, {1: 1}))
    no_limit(broker, topic)
    assert c.take(5) == [0, 1, 2, 3, 4]
    c.close()


def test_a_throttled_subscription_delays_nobody_else(broker, topic):
    other = topic + "-other"
    fill(broker, topic, 50)
    fill(broker, other, 50)
    none_may_go(broker, topic)
    with raw.Connection(broker) as c:
        waits = Consumer(broker, topic, connection=c)
        assert waits.take(1) == [0]
        free = Consumer(broker, other, connection=c, consumer_id=2)
        assert free.take(50) == list(range(50))
        c.create_producer(topic, producer_id=3)
        c.write(raw.send(0, producer_id=3))
        c.expect(raw.SEND_RECEIPT)


# ---- what may happen to one that waits ----


@pytest.mark.parametrize("sub_type", [0, 1])
def test_a_consumer_that_goes_while_it_waits_leaves_the_rest_to_the_next(broker, topic, sub_type):
    fill(broker, topic, 100)
    none_may_go(broker, topic)
    c = Consumer(broker, topic, sub_type=sub_type)
    assert c.take(1) == [0]
    c.close()
    harness.wait_for(lambda: not subscription(broker, topic)["consumers"])
    c = Consumer(broker, topic, sub_type=sub_type)
    assert c.gets_nothing()
    no_limit(broker, topic)
    assert c.take(100) == list(range(100))
    c.close()


def test_a_consumer_without_permits_is_passed_over(broker, topic):
    fill(broker, topic, 10)
    none_may_go(broker, topic)
    first = Consumer(broker, topic, name="first", permits=1)
    assert first.take(1) == [0]
    second = Consumer(broker, topic, name="second")
    assert second.gets_nothing()
    no_limit(broker, topic)
    assert second.take(10) == list(range(10))
    assert first.gets_nothing(0.1)
    first.close()
    second.close()


def test_seek_while_it_waits(broker, topic):
    fill(broker, topic, 100)
    none_may_go(broker, topic)
    c = Consumer(broker, topic)
    assert c.take(1) == [0]
    c.c.write(raw.frame(raw.SEEK, {1: 1, 2: 2, 3: {1: broker.stored()[0]["ledger"], 2: 60}}))
    assert {c.c.read()[0], c.c.read()[0]} == {raw.SUCCESS, raw.CLOSE_CONSUMER}
    c = Consumer(broker, topic, connection=c.c)
    no_limit(broker, topic)
    assert c.take(40) == list(range(60, 100))
    c.close()


@pytest.mark.parametrize("how", ["unsubscribe", "delete", "disconnect", "stop"])
def test_its_end_while_it_waits(broker, topic, how):
    fill(broker, topic, 100)
    none_may_go(broker, topic)
    consumers = [Consumer(broker, topic, name=f"s{i}") for i in range(3)]
    time.sleep(0.1)
    if how == "unsubscribe":
        consumers[1].c.write(raw.frame(raw.UNSUBSCRIBE, {1: 1, 2: 7}))
        while consumers[1].c.read()[0] != raw.SUCCESS:
            pass
        no_limit(broker, topic)
        assert count_until_quiet([consumers[0].c, consumers[2].c]) >= 199
    elif how == "delete":
        broker.ok("DELETE", f"{path(topic)}?force=true")
        fill(broker, topic, 3)
        c = Consumer(broker, topic, name="s0", connection=raw.Connection(broker))
        assert c.take(3) == [0, 1, 2]
        c.close()
    elif how == "stop":
        broker.restart()
    for c in consumers:
        c.close()


def test_entries_from_disk_go_in_order_and_once(make_broker, topic):
    broker = make_broker()
    fill(broker, topic, 2000, size=500)
    broker.restart()
    limit(broker, topic, 4000)
    consumers = [Consumer(broker, topic, name=f"s{i}") for i in range(3)]
    got = {}
    threads = [threading.Thread(target=lambda c=c, i=i: got.update({i: c.take(1200)})) for i, c in enumerate(consumers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    no_limit(broker, topic)
    for i, c in enumerate(consumers):
        assert got[i] + c.take(800) == list(range(2000))
        c.close()


# ---- quotas ----

GROUP = "/resourcegroups/g"
TWENTY = {"dispatchThrottlingRateInMsg": 20, "dispatchThrottlingBurstInMsg": 20, **HOUR}
QUOTAS = {
    "namespace": ("POST", "/namespaces/public/default/dispatchQuota", TWENTY),
    "tenant": ("POST", "/tenants/public/dispatchQuota", TWENTY),
    "group": ("PUT", GROUP, {"dispatchRateInMsgs": 20, "dispatchBurstInMsgs": 20, "dispatchPeriodInMs": 3600000}),
}


def remove(broker, what):
    method, where, body = QUOTAS[what]
    if what == "group":
        broker.ok("PUT", GROUP, {"dispatchRateInMsgs": -1})
    else:
        broker.ok("DELETE", where)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("what", QUOTAS)
def test_a_quota_holds_for_all_topics_together(make_broker, topic, what, workers):
    broker = full_bursts(make_broker, "--workers", workers)
    topics = [f"{topic}-{i}" for i in range(4)]
    for t in topics:
        fill(broker, t, 50)
    broker.ok(*QUOTAS[what])
    if what == "group":
        broker.ok("POST", "/namespaces/public/default/resourcegroup/g")
    consumers = [Consumer(broker, t) for t in topics]
    got = [count_until_quiet([c.c]) for c in consumers]
    assert sum(got) == 21, got
    remove(broker, what)
    for c, n in zip(consumers, got, strict=True):
        assert c.take(50 - n) == list(range(n, 50))
        c.close()


def test_a_group_hung_on_and_taken_off_while_it_waits(make_broker, topic):
    broker = full_bursts(make_broker, "--workers", "2")
    fill(broker, topic, 100)
    broker.ok(*QUOTAS["group"])
    broker.ok("POST", "/namespaces/public/default/resourcegroup/g")
    consumers = [Consumer(broker, topic, name=f"s{i}") for i in range(2)]
    assert count_until_quiet([c.c for c in consumers]) == 21
    broker.ok("DELETE", "/namespaces/public/default/resourcegroup")
    assert count_until_quiet([c.c for c in consumers]) == 179
    for c in consumers:
        c.close()


def test_the_brokers_total(make_broker, topic):
    broker = make_broker()
    fill(broker, topic, 400)
    broker.ok("POST", "/brokers/configuration/dispatchThrottlingRateInMsg/100")
    c = Consumer(broker, topic)
    begin = time.monotonic()
    c.take(60)
    assert time.monotonic() - begin > 0.4
    broker.ok("DELETE", "/brokers/configuration/dispatchThrottlingRateInMsg")
    assert c.take(340) == list(range(60, 400))
    c.close()


# ---- whom a limit does not hold for ----


def test_only_who_lags_is_limited_where_the_others_are_spared(broker, topic):
    broker.ok("POST", "/brokers/configuration/dispatchThrottlingOnNonBacklogConsumerEnabled/false")
    tails = Consumer(broker, topic, name="tails")
    fill(broker, topic, 1)
    assert tails.take(1) == [0]
    none_may_go(broker, topic)
    lags = Consumer(broker, topic, name="lags", permits=0)
    fill(broker, topic, 50)
    assert tails.take(50) == list(range(1, 51))
    lags.c.write(raw.flow(1000))
    lags.take(1)
    assert lags.gets_nothing()
    for c in (tails, lags):
        c.close()


def test_a_dry_run_holds_up_nobody(broker, topic):
    fill(broker, topic, 200)
    limit(broker, topic, 1, enforce=False, **HOUR)
    c = Consumer(broker, topic)
    assert c.take(200) == list(range(200))
    c.close()


def test_a_rate_relative_to_what_is_published_follows_it(broker, topic):
    fill(broker, topic, 1)
    limit(broker, topic, 1, relativeToPublishRate=True)
    c = Consumer(broker, topic)
    fill(broker, topic, 1000)  # some 1000 a second, as the meter sees it; then it decays
    begin = time.monotonic()
    c.take(700)
    assert time.monotonic() - begin < 5
    c.close()


def test_a_dry_run_holds_up_none_of_several_subscriptions(broker, topic):
    fill(broker, topic, 400)
    limit(broker, topic, 1, enforce=False, **HOUR)
    both = [Consumer(broker, topic, name=name) for name in ("one", "two")]
    for c in both:
        assert c.take(400) == list(range(400))
    for name in ("one", "two"):
        s = subscription(broker, topic, name)
        assert not s["throttled"] and s["dispatchThrottledMsgEventsByTopicLimit"] == 0
    for c in both:
        c.close()


def fill_large(broker, topic, n, size):
    """Without checksums, which take long in Python."""
    metadata = raw.encode({1: "raw", 2: 0, 3: int(time.time() * 1000)})
    body = struct.pack(">I", len(metadata)) + metadata + bytes(size)
    with raw.Connection(broker) as c:
        c.create_producer(topic)
        for i in range(n):
            c.write(raw.frame(raw.SEND, {1: 1, 2: i}, body))
            c.expect(raw.SEND_RECEIPT)


def test_what_waits_for_tokens_with_entries_from_disk_stays_within_memory(make_broker, topic):
    """Each of 100 subscriptions would have its next entry in memory, but for a quarter of the cache's share."""
    broker = make_broker("--memory", "64M", "--durability", "os")
    size, count, share = 200_000, 100, 10 << 20
    connections = [raw.Connection(broker) for _ in range(2)]
    for i in range(count):
        connections[i % 2].write(raw.subscribe(topic, f"s{i}", consumer_id=i, request_id=i, sub_type=0))
        connections[i % 2].expect(raw.SUCCESS)
    fill_large(broker, topic, 60, size)
    limit(broker, topic, 2)
    for i in range(count):
        connections[i % 2].write(raw.flow(3, i))
    most = 0
    for _ in range(12):
        time.sleep(0.1)
        most = max(most, cache_bytes(broker))
    assert most < share + (2 << 20)
    limit(broker, topic, 1000)
    came = {i: [] for i in range(count)}
    for c in connections:
        while any(len(came[i]) < 3 for i in range(count) if connections[i % 2] is c):
            _, fields, _ = c.read()
            came[fields[1][0]].append(raw.decode(fields[2][0])[2][0])
    assert all(ids == [0, 1, 2] for ids in came.values())
    for c in connections:
        c.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_rate_of_one_subscription_holds_for_it_alone_and_at_once(make_broker, topic, workers):
    broker = make_broker("--workers", workers)
    fill(broker, topic, 200)
    limit(broker, topic, 1, what="one/dispatchRate", **HOUR)  # before there is one
    one, other = (Consumer(broker, topic, name=name) for name in ("one", "other"))
    assert other.take(200) == list(range(200))
    assert one.take(1) == [0]
    assert one.gets_nothing()
    s = subscription(broker, topic, "one")
    assert s["throttled"] and s["throttledReason"] == "subscription"
    command = broker.ok("GET", f"{path(topic)}/explain")["dispatch"]["waiting"][0]["limit"]["command"]
    assert f"set-subscription-dispatch-rate {topic} --subscription one --msg-dispatch-rate" in command
    none_may_go(broker, topic, "subscriptionDispatchRate")
    limit(broker, topic, -1, what="one/dispatchRate")  # "no limit" is narrower than the topic's
    assert one.take(199) == list(range(1, 200))
    no_limit(broker, topic, "one/dispatchRate")
    fill(broker, topic, 10)
    harness.wait_for(lambda: subscription(broker, topic, "one")["throttled"])
    one.close()
    other.close()
