"""Precision of publish limits, end to end: each level alone, from 1 message a second to 50 MB a second, batched and not.
By the broker's times of admission: over 10 s from the first refusal on, ±0.5 % or one message (batch), and every second
within rate + burst + one message (batch). What was admitted is what was acknowledged.

Cases of a stage run at the same time: each in tenants of its own, those of the level "broker" in brokers of their own."""
import contextlib
import shutil
import time
from dataclasses import dataclass

import harness
import pytest
from admission import NS, Admissions, within
from levels import LEVELS, hang_group, prepare, remove_limit, set_limit
from publishers import DRAIN_S, Generator, PythonPublisher, clients_of

MEASURED_S, START_S = 10, 4  # from the first refusal on, which comes in the first START_S seconds
CONNECTIONS = 4
# A message is admitted at the time at which its worker's turn began; the tokens of a total may be those that another
# worker's later turn brought. Turns are shorter than this, also where workers wait for a CPU.
OVERLAP_S = 0.05
TOTALS = LEVELS[2:]
WINDOW_S, METADATA = 1.5, 26


@dataclass(frozen=True)
class Rate:
    count: int
    unit: str  # messages, bytes
    size: int  # of a message's payload
    batch: int  # where there are batches
    generated: bool = False  # too fast for Python
    burst: int = 0  # 0: the usual one, of a second

    def __str__(self):
        return f"{self.count} {self.unit} a second"


ONE = Rate(1, "messages", 100, 3)
TEN = Rate(10, "messages", 100, 5)
FIVE_HUNDRED = Rate(500, "messages", 100, 20)
KILOBYTE = Rate(1_000, "bytes", 60, 5)
MEGABYTE = Rate(1_000_000, "bytes", 4_000, 5)
MANY = Rate(20_000, "messages", 100, 50, generated=True)
FIFTY_MEGABYTES = Rate(50_000_000, "bytes", 4_000, 10, generated=True)
FOR_PYTHON = (ONE, TEN, FIVE_HUNDRED, KILOBYTE, MEGABYTE)


@dataclass(frozen=True)
class Case:
    level: str
    rate: Rate
    batched: bool

    @property
    def batch(self):
        return self.rate.batch if self.batched else 1

    @property
    def name(self):
        return f"{self.level}, {self.rate}, {'batched' if self.batched else 'unbatched'}"

    def window(self, publishers):
        """Of each publisher: WINDOW_S of the limit in all, or one frame each, which the broker parks whole. So it is the
        limit that is measured, not how soon a client that was held sends again (test_hold.py)."""
        rate = self.rate
        messages = rate.count if rate.unit == "messages" else rate.count / (rate.size + METADATA)
        return max(self.batch, int(WINDOW_S * messages / publishers))


class Running:
    """A case in a broker: its limit is set, then others publish."""

    def __init__(self, case, broker, tenant):
        self.case, self.broker, self.tenant, self.publishers = case, broker, tenant, []
        self.topics = prepare(broker, case.level, tenant)
        rate = case.rate
        set_limit(broker, case.level, tenant, {rate.unit: rate.count}, {rate.unit: rate.burst} if rate.burst else {})
        if case.level == "resource group":
            hang_group(broker, tenant)

    def make_publishers(self, clients):
        window = self.case.window(len(self.topics))
        self.publishers = [PythonPublisher(clients[i % len(clients)], t, self.case.rate.size, self.case.batch, window)
                           for i, t in enumerate(self.topics)]

    def add_to(self, generator):
        if self.case.level == "producer":
            del self.topics[1:]  # one process can't tell two producers' messages apart
        for i, topic in enumerate(self.topics):
            generator.add(f"{self.tenant}-{i}", topic, i, self.case.rate.size, self.case.batch,
                          self.case.window(len(self.topics)))

    def remove(self, started_ns, until_ns):
        self.started_ns, self.until_ns = started_ns, until_ns
        remove_limit(self.broker, self.case.level, self.tenant)

    def collect(self, rows, acknowledged):
        """rows: all that is stored in the broker."""
        ledgers = {self.broker.ok("GET", f"/{harness.rest_path(t)}/lastMessageId")["ledgerId"] for t in self.topics}
        rows = [r for r in rows if r["ledger"] in ledgers]
        assert sum(r["messages"] for r in rows) == acknowledged
        self.rows = [r for r in rows if r["admitted_ns"] < self.until_ns]

    def admissions(self):
        """Of each that is limited by itself: of each producer, or of all together."""
        groups = [self.rows]
        if self.case.level == "producer" and self.publishers:
            groups = [[r for r in self.rows if (r["ledger"], r["entry"]) in p.entries] for p in self.publishers]
        return [Admissions(rows, self.case.rate.unit) for rows in groups]


def run_with_python(running):
    """All at the same time."""
    brokers = {id(r.broker): r.broker for r in running}
    with contextlib.ExitStack() as stack:
        clients = {key: stack.enter_context(clients_of(b, CONNECTIONS)) for key, b in brokers.items()}
        for r in running:
            r.make_publishers(clients[id(r.broker)])
        for p in [p for r in running for p in r.publishers]:
            p.start()
        started_ns = time.time_ns()
        time.sleep(START_S + MEASURED_S + 1)
        publishers = [p for r in running for p in r.publishers]
        measured_until_ns = time.time_ns()
        for p in publishers:
            p.stop()
        for r in running:
            r.remove(started_ns, measured_until_ns)
        for p in publishers:
            p.wait()
        rows = {key: b.stored() for key, b in brokers.items()}
        for r in running:
            r.collect(rows[id(r.broker)], sum(p.acknowledged for p in r.publishers))


def run_with_generators(running):
    """All at the same time, a generator for each broker; it ends by itself, still limited."""
    generators = {}
    for r in running:
        if id(r.broker) not in generators:
            generators[id(r.broker)] = Generator(r.broker, CONNECTIONS, MEASURED_S + 1, START_S)
        r.add_to(generators[id(r.broker)])
    for g in generators.values():
        g.start()
    started_ns = time.time_ns()
    time.sleep(START_S + MEASURED_S + 1)
    measured_until_ns = time.time_ns()
    for g in generators.values():
        g.wait(2 * DRAIN_S * harness.SLOWNESS)
    for r in running:
        of_its = [g for name, g in generators[id(r.broker)].result.items() if name.rsplit("-", 1)[0] == r.tenant]
        r.remove(started_ns, measured_until_ns)
        r.collect(r.broker.stored(), sum(g["acknowledged"] for g in of_its))


def run_stage(cases, directory):
    """Their Running by case. What is stored is looked at and deleted."""
    options = ["--durability", "os"] if any(c.rate.generated for c in cases) else []
    shared = harness.Broker(directory / "shared", options)
    brokers = [shared] + [harness.Broker(directory / f"own-{i}", options)
                          for i, c in enumerate(cases) if c.level == "broker"]
    own = iter(brokers[1:])
    try:
        for b in brokers:
            b.start()
        running = [Running(c, next(own) if c.level == "broker" else shared, f"t{i}") for i, c in enumerate(cases)]
        (run_with_generators if cases[0].rate.generated else run_with_python)(running)
        return {r.case: r for r in running}
    finally:
        problems = [p for b in brokers for p in b.end()]
        for b in brokers:
            shutil.rmtree(b.data_dir, ignore_errors=True)
        assert not problems, problems


# Every level meets every rate: with every other one in batches, the others without; `slow`, the other way round.
def chequered(rates, odd):
    return [Case(level, rate, (i + k) % 2 == odd) for i, level in enumerate(LEVELS) for k, rate in enumerate(rates)]


STAGES = {
    "slow rates": chequered(FOR_PYTHON, 1),
    "slow rates, the other way round": chequered(FOR_PYTHON, 0),
    "20 000 a second, batched": [Case(level, MANY, True) for level in LEVELS],
    "20 000 a second, unbatched": [Case(level, MANY, False) for level in LEVELS[::2]],
    "20 000 a second, unbatched, others": [Case(level, MANY, False) for level in LEVELS[1::2]],
} | {f"50 MB a second, {c.level}": [c] for c in chequered([FIFTY_MEGABYTES], 0)}
QUICK = ("slow rates",)


@pytest.fixture(scope="module")
def run_once(tmp_path_factory):
    """run_once(a stage's name): what run_stage gives, or raises again."""
    ran = {}

    def run(name):
        if name not in ran:
            try:
                ran[name] = run_stage(STAGES[name], tmp_path_factory.mktemp("stage"))
            except Exception as e:
                ran[name] = e
        if isinstance(ran[name], Exception):
            raise ran[name]
        return ran[name]
    return run


@pytest.mark.limit(180)
@pytest.mark.parametrize("stage, case", [
    pytest.param(name, case, id=case.name, marks=[] if name in QUICK else pytest.mark.slow)
    for name, cases in STAGES.items() for case in cases])
def test_a_level_alone(run_once, stage, case):
    running, rate = run_once(stage)[case], case.rate
    skew_s = OVERLAP_S if case.level in TOTALS and harness.WORKERS != "1" else 0
    for a in running.admissions():
        begin = a.first_refusal(rate.count, START_S, max(a.start, running.started_ns))
        assert begin + MEASURED_S * NS <= running.until_ns
        got, most = a.between(begin, begin + MEASURED_S * NS), a.most_in_a_window(1)
        print(f"{case.name}: {MEASURED_S} s from the first refusal: {got} ({(got / rate.count / MEASURED_S - 1) * 100:+.3f} %, "
              f"one is {a.largest}), the most in a second {most}")
        assert most <= rate.count * (1 + skew_s) + (rate.burst or rate.count) + a.largest
        assert within(got, MEASURED_S * rate.count, a.largest)
