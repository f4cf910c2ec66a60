"""All levels of publish limits at once on one topic, another one binding every second: never over any of them, and the
one that binds is always the one that is named."""
import bisect
import time
from datetime import datetime

import harness
import pytest
from admission import NS, Admissions
from levels import LEVELS, hang_group, prepare, remove_limit, set_limit
from publishers import PythonPublisher, clients_of

TENANT = "t"  # and the name of its resource group
TOPIC = f"persistent://{TENANT}/a/p-partition-0"
SIZE, CHARGED = 100, 130  # a message's payload; about what limits count of it
WINDOW, PRODUCERS = 80, 3  # what the broker parks whole: nobody is held
BINDING, BINDING_EACH, SLACK = 200, 60, 1000  # messages a second, in all; of each producer; where another one binds
ROUND_S, SETTLE_S = 1, 0.45  # a broker's quota has a burst of a second: BINDING / (SLACK - BINDING) until that is used up
OVERLAP_S = 0 if harness.WORKERS == "1" else 0.05  # of workers' turns; see test_precision.py
SCOPES = {"topic": TOPIC, "partitioned topic": f"persistent://{TENANT}/a/p", "namespace": f"{TENANT}/a", "tenant": TENANT,
          "resource group": TENANT}


class Level:
    """What has been in force of it, and since when: [from ns, messages/s, bytes/s, burst in each]."""

    def __init__(self, broker, name):
        self.broker, self.name, self.history = broker, name, []
        self.set(None)

    def set(self, unit):
        """It binds, in this unit; None: it does not."""
        low = BINDING_EACH if self.name == "producer" else BINDING
        rates = {u: (low if u == unit else SLACK) * (CHARGED if u == "bytes" else 1) for u in ("messages", "bytes")}
        bursts = {u: rate // 10 for u, rate in rates.items()}
        before = self.history[-1] if self.history else None
        if before:  # until it is answered either may be in force
            most = [{u: max(old[u], new[u]) for u in new} for old, new in ((before[1], rates), (before[2], bursts))]
            self.history.append((time.time_ns(), *most))
        set_limit(self.broker, self.name, TENANT, rates, None if self.name == "broker" else bursts, topic="p")
        self.history.append((time.time_ns(), rates, rates if self.name == "broker" else bursts))

    def may_pass(self, unit, first_ns, last_ns):
        """Rate in force * time + the largest burst in force. Of a total, the highest rate in force for OVERLAP_S more."""
        total, burst, highest = 0, 0, 0
        begin = max(0, bisect.bisect_right([h[0] for h in self.history], first_ns) - 1)
        for i in range(begin, len(self.history)):
            since_ns, rates, bursts = self.history[i]
            if since_ns >= last_ns:
                break
            until_ns = self.history[i + 1][0] if i + 1 < len(self.history) else last_ns
            total += rates[unit] * (min(until_ns, last_ns) - max(since_ns, first_ns)) / NS
            burst, highest = max(burst, bursts[unit]), max(highest, rates[unit])
        return total + burst + (0 if self.name in ("producer", "topic") else OVERLAP_S * highest)

    def check(self, rows, unit):
        """In every second."""
        a = Admissions(rows, unit)
        closest = 0
        for t in a.times:
            got, may = a.between(t, t + NS), self.may_pass(unit, t, t + NS)
            assert got <= may + a.largest, f"{self.name}: {got} {unit} in a second, {may} + {a.largest} may pass"
            closest = max(closest, got / (may + a.largest))
        return closest


def named_now(broker):
    """All that says what binds: explain's list of who waits and its scopes, the topic's stats."""
    explained = broker.ok("GET", f"/{harness.rest_path(TOPIC)}/explain")
    stats = broker.stats(TOPIC)
    return {"waiting": {(w["reason"], w["scope"]) for w in explained["waiting"]}, "waits": len(explained["waiting"]),
            "scopes": {s["kind"] for s in explained["scopes"] if s["binding"]},
            "stats": {p.get("throttledReason") for p in stats["publishers"]} | {stats.get("throttledReason")}}


def check_named(seen, level, publishers):
    assert seen["waits"] == PRODUCERS, seen
    assert {reason for reason, _ in seen["waiting"]} == {level} == seen["stats"], (level, seen)
    if level == "producer":
        assert {scope for _, scope in seen["waiting"]} == {p.producer.producer_name() for p in publishers}
    else:
        assert seen["scopes"] == {level}, (level, seen)
    if level in SCOPES:
        assert {scope for _, scope in seen["waiting"]} == {SCOPES[level]}, (level, seen)


def events_of_waits(broker):
    return [e for e in broker.ok("GET", "/events?since=0&limit=1000")["events"]
            if e["event"] == "throttling-begins" and e.get("topic") == TOPIC]


def rounds(cycles):
    """Which level binds, by which unit: up, down by bytes, and criss-cross."""
    orders = [(LEVELS, "messages"), (LEVELS[::-1], "bytes"), ([LEVELS[i * 3 % 7] for i in range(7)], "messages")]
    return [(level, unit) for order, unit in orders[:cycles] for level in order]


def run(broker, levels, publishers, cycles):
    """Makes each bind in its turn; returns the looks taken and when each began to bind."""
    former, looks, begun = None, 0, []
    for level, unit in rounds(cycles):
        levels[level].set(unit)
        if former not in (None, level):
            levels[former].set(None)
        former = level
        begun.append((time.time_ns(), level))
        if len(begun) == 1:
            for p in publishers:
                p.start()
        end = time.monotonic() + ROUND_S
        time.sleep(SETTLE_S)
        while time.monotonic() < end:
            check_named(named_now(broker), level, publishers)
            looks += 1
            time.sleep(0.02)
    return looks, begun


@pytest.mark.parametrize("cycles", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_binding_level_changes_every_second(make_broker, cycles):
    broker = make_broker()
    prepare(broker, "partitioned topic", TENANT)
    levels = {name: Level(broker, name) for name in LEVELS}
    hang_group(broker, TENANT)
    with clients_of(broker, PRODUCERS) as clients:
        publishers = [PythonPublisher(c, TOPIC, SIZE, 1, WINDOW) for c in clients]
        time.sleep(0.2)  # a fresh limit has a tenth of its burst: until those that don't bind have all of it
        looks, begun = run(broker, levels, publishers, cycles)
        end_ns = time.time_ns()
        for p in publishers:
            p.stop()
        for name in LEVELS:
            remove_limit(broker, name, TENANT, topic="p")
        for p in publishers:
            p.wait()
    rows = [r for r in broker.stored() if r["admitted_ns"] < end_ns]
    for name, level in levels.items():
        each = [[r for r in rows if (r["ledger"], r["entry"]) in p.entries] for p in publishers]
        for unit in ("messages", "bytes"):
            closest = [level.check(some, unit) for some in (each if name == "producer" else [rows])]
            print(f"{name}, {unit}: at most {max(closest) * 100:.1f} % of what may pass in a second")
    wanted = sum(ROUND_S * (BINDING_EACH * PRODUCERS if level == "producer" else BINDING) for _, level in begun)
    print(f"{len(rows)} messages; what bound let {wanted} pass, without bursts; {looks} looks")
    assert len(rows) >= 0.95 * wanted
    assert looks >= 5 * len(begun)
    check_events(events_of_waits(broker), begun)


def check_events(events, begun):
    assert events
    for e in events:
        at_ns = int(datetime.fromisoformat(e["time"]).timestamp() * NS)
        now = max(0, bisect.bisect_right([t for t, _ in begun], at_ns) - 1)
        may_be = {begun[now][1]}
        if at_ns < begun[now][0] + SETTLE_S * NS:
            may_be |= {begun[max(0, now - 1)][1], begun[min(now + 1, len(begun) - 1)][1]}
        assert e["reason"] in may_be, (e, may_be)
