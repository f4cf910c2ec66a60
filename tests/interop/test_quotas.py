"""Quotas - totals over many topics, spread over the workers - as unmodified clients meet them. Accuracy as for limits:
by the broker's times of admission, over 10 s from the first refusal on, ±0.5 % or one message (batch)."""
import time

import pytest
from admission import NS, Admissions, within
from test_throttle import Load

pytestmark = pytest.mark.slow


def ledger_of(broker, local):
    return broker.ok("GET", f"/persistent/{local}/lastMessageId")["ledgerId"]


def set_quota(broker, ns, messages=-1, bytes_=-1, **more):
    broker.ok("POST", f"/namespaces/{ns}/publishQuota",
              {"publishThrottlingRateInMsg": messages, "publishThrottlingRateInByte": bytes_, **more})


def set_broker_quota(broker, name, value):
    broker.ok("POST", f"/brokers/configuration/{name}/{value}")


class Run:
    """Loads on topics of namespaces, each from a connection of its own, for some seconds."""

    def __init__(self, broker, connect, topics, seconds, **options):
        there = {f"{t}/{ns}" for t, ns in (("public", "default"), ("one", "ns")) if broker.rest("GET", f"/namespaces/{t}/{ns}").status == 200}
        for ns in sorted({t.rsplit("/", 1)[0] for t in topics} - there):
            broker.ok("PUT", f"/namespaces/{ns}")
        self.broker, self.topics = broker, topics
        options.setdefault("batching_enabled", False)
        self.loads = [Load(connect(broker), f"persistent://{t}", **options) for t in topics]
        time.sleep(seconds)

    def stop(self):
        ledgers = {t: ledger_of(self.broker, t) for t in self.topics}
        for load in self.loads:
            load.stopping = True
        end = time.time_ns()  # what is parked goes at once then, and doesn't count
        set_broker_quota(self.broker, "brokerPublisherThrottlingMaxMessageRate", 0)
        for ns in {t.rsplit("/", 1)[0] for t in self.topics}:
            self.broker.ok("DELETE", f"/namespaces/{ns}/publishQuota")
        for load in self.loads:
            load.stop()
        rows = [r for r in self.broker.stored() if r["admitted_ns"] < end]
        self.all = Admissions([r for r in rows if r["ledger"] in ledgers.values()])
        self.each = {t: Admissions([r for r in rows if r["ledger"] == ledgers[t]]) for t in self.topics}
        return self


def check_total(a, rate, seconds=10):
    assert a.most_in_a_window(1) <= 2 * rate + a.largest
    begin = a.first_refusal(rate)
    got = a.between(begin, begin + seconds * NS)
    print(f"{seconds} s from the first refusal: {got} ({(got / rate / seconds - 1) * 100:+.3f} %)")
    assert within(got, seconds * rate, a.largest)
    return begin


@pytest.mark.parametrize("workers", ["1", "2", "4"])
def test_eight_equal_producers_share_a_namespaces_quota(make_broker, connect, workers):
    broker = make_broker("--workers", workers)
    set_quota(broker, "public/default", messages=2000)
    topics = [f"public/default/equal-{i}" for i in range(8)]
    run = Run(broker, connect, topics, 14).stop()
    begin = check_total(run.all, 2000)
    shares = [a.between(begin + NS, begin + 11 * NS) for a in run.each.values()]
    for k in range(12): print("sec", k, [a.between(begin + k*NS, begin + (k+1) * NS) for a in run.each.values()])
    print("shares", shares)
    assert max(shares) - min(shares) <= 0.1 * 2500


def test_a_modest_producer_is_not_slowed_by_a_greedy_one(make_broker, connect):
    broker = make_broker("--workers", "2")
    set_quota(broker, "public/default", messages=1000)
    greedy = Run(broker, connect, ["public/default/greedy"], 2)
    modest = Load(connect(broker), "persistent://public/default/modest", pace=100, batching_enabled=False)
    time.sleep(10)
    waits = sorted(modest.waits[100:])
    modest.stop()
    greedy.stop()
    print(f"modest: {len(waits)} sends, p50 {waits[len(waits) // 2] * 1000:.1f} ms, p99 {waits[int(len(waits) * 0.99)] * 1000:.1f} ms")
    assert len(modest.waits) >= 0.98 * 100 * 10
    others = sorted(greedy.loads[0].waits[1000:])  # what a send waits for who asks for more than there is
    print(f"greedy: p50 {others[len(others) // 2] * 1000:.1f} ms")
    assert waits[len(waits) // 2] < others[len(others) // 2] / 20
    assert waits[int(len(waits) * 0.99)] < others[len(others) // 2] / 2


def test_the_brokers_quota_is_shared_by_tenants_then_namespaces(make_broker, connect):
    """One topic of one tenant gets as much as six of another."""
    broker = make_broker("--workers", "4")
    broker.ok("PUT", "/tenants/one", {"adminRoles": [], "allowedClusters": ["standalone"]})
    broker.ok("PUT", "/tenants/other", {"adminRoles": [], "allowedClusters": ["standalone"]})
    set_broker_quota(broker, "brokerPublisherThrottlingMaxMessageRate", 1200)
    topics = ["one/ns/a"] + [f"other/ns{i % 2}/b{i}" for i in range(6)]
    run = Run(broker, connect, topics, 14).stop()
    begin = check_total(run.all, 1200)
    shares = {t: a.between(begin + NS, begin + 10 * NS) for t, a in run.each.items()}
    print("shares", shares)
    one = shares["one/ns/a"]
    assert abs(one / sum(shares.values()) - 0.5) <= 0.02
    ns0 = sum(v for t, v in shares.items() if t.startswith("other/ns0"))
    ns1 = sum(v for t, v in shares.items() if t.startswith("other/ns1"))
    assert abs(ns0 / (ns0 + ns1) - 0.5) <= 0.02


def test_two_quotas_nested(make_broker, connect):
    """The namespace's binds for its topics, the broker's for all."""
    broker = make_broker("--workers", "4")
    set_quota(broker, "public/default", messages=300)
    set_broker_quota(broker, "brokerPublisherThrottlingMaxMessageRate", 1000)
    topics = ["public/default/a", "public/default/b", "public/wide/c", "public/wide/d"]
    run = Run(broker, connect, topics, 14).stop()
    begin = check_total(run.all, 1000)
    narrow = sum(run.each[t].between(begin + NS, begin + 11 * NS) for t in topics[:2])
    print("narrow", narrow)
    assert within(narrow, 3000, 1)


TOTALS = {  # where it is set, what is set there, and of which topics it is the total
    "tenant": ("POST", "/tenants/one/publishQuota", {"publishThrottlingRateInMsg": 2000},
               [f"one/ns{i % 2}/t{i}" for i in range(8)]),
    "resource group": ("PUT", "/resourcegroups/gold", {"publishRateInMsgs": 2000},
                       [f"{t}/ns/t{i}" for t in ("one", "other") for i in range(4)]),
    "partitioned topic": ("POST", "/persistent/one/ns/p/publishQuota", {"publishThrottlingRateInMsg": 2000},
                          [f"one/ns/p-partition-{i}" for i in range(8)]),
}


@pytest.mark.parametrize("kind", TOTALS)
def test_a_total_over_four_workers_and_its_shares(make_broker, connect, kind):
    method, path, body, topics = TOTALS[kind]
    broker = make_broker("--workers", "4")
    for tenant in ("one", "other"):
        broker.ok("PUT", f"/tenants/{tenant}", {"adminRoles": [], "allowedClusters": ["standalone"]})
    if kind == "partitioned topic":
        broker.ok("PUT", "/namespaces/one/ns")
        broker.ok("PUT", "/persistent/one/ns/p/partitions", 8)
    broker.ok(method, path, body)
    if kind == "resource group":
        for tenant in ("one", "other"):
            broker.ok("POST", f"/tenants/{tenant}/resourcegroup/gold")
    run = Run(broker, connect, topics, 12).stop()
    begin = check_total(run.all, 2000)
    shares = [a.between(begin + NS, begin + 10 * NS) for a in run.each.values()]
    print("shares", shares)
    assert max(shares) - min(shares) <= 0.1 * 9 * 2000 / 8


@pytest.mark.parametrize("rate, batching", [(1, False), (50, False), (5000, True)])
def test_quotas_small_and_large(make_broker, connect, rate, batching):
    broker = make_broker("--workers", "2")
    set_quota(broker, "public/default", messages=rate)
    topics = [f"public/default/t{i}" for i in range(2)]
    run = Run(broker, connect, topics, 14, batching_enabled=batching, window=1000 if not batching else 10000).stop()
    check_total(run.all, rate)


def test_a_quota_changed_while_they_wait(make_broker, connect):
    broker = make_broker("--workers", "2")
    set_quota(broker, "public/default", messages=200)
    topics = [f"public/default/t{i}" for i in range(4)]
    run = Run(broker, connect, topics, 4)
    changed = time.time_ns()
    set_quota(broker, "public/default", messages=2000)
    time.sleep(6)
    again = time.time_ns()
    set_quota(broker, "public/default", messages=100)
    time.sleep(6)
    end = time.time_ns()
    run.stop()
    a = run.all
    print(a.between(changed + NS, again) / ((again - changed - NS) / NS), a.between(again + NS, end) / ((end - again - NS) / NS))
    assert within(a.between(changed + NS, again), 2000 * (again - changed - NS) / NS, 1)
    assert within(a.between(again + NS, end), 100 * (end - again - NS) / NS, 1)
