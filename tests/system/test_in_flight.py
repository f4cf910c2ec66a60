"""What a connection has in flight is bounded for the whole connection, wherever its producers live.

The log's fdatasync does not return while a file exists, so nothing is acknowledged: what topics count as published is
what is in flight.
"""
import time

import harness
import pytest
import raw

LIMIT = 8


class Held:
    """A broker whose log is held; a connection with a producer (ids from 10) on a topic of each worker."""

    def __init__(self, make_broker, tmp_path, workers, config=None):
        self.hold = tmp_path / "hold"
        self.workers = workers
        self.broker = make_broker("--workers", str(workers),
                                  config={"maxPendingPublishRequestsPerConnection": LIMIT} if config is None else config,
                                  env={"FAULT_DIR": "/data/log/", "FAULT_SYNC_WHILE": str(self.hold)},
                                  preload=harness.FAULT_SHIM)
        self.topics = [f"persistent://public/default/t{i}" for i in range(workers)]
        self.holders = [raw.Connection(self.broker) for _ in range(workers)]  # one on each worker
        for c, topic in zip(self.holders, self.topics):
            c.create_producer(topic)
        self.connection = raw.Connection(self.broker)
        for i, topic in enumerate(self.topics):
            self.connection.create_producer(topic, producer_id=10 + i)
        self.next = [0] * workers

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.hold.unlink(missing_ok=True)
        for c in [*self.holders, self.connection]:
            c.close()

    def send(self, count, which=None, **options):
        """`count` messages of each producer, or of this one, by turns, in one write."""
        data = b""
        for _ in range(count):
            for i in range(self.workers) if which is None else [which]:
                data += raw.send(self.next[i], producer_id=10 + i, **options)
                self.next[i] += 1
        self.connection.write(data)

    def published(self):
        return sum(self.broker.stats(t)["msgInCounter"] for t in self.topics)

    def expect_in_flight(self, count, before):
        """So many, and no more come."""
        harness.wait_for(lambda: self.published() - before >= count, what=f"{count} in flight")
        time.sleep(0.1)
        assert self.published() - before == count

    def go(self):
        self.hold.unlink()

    def expect_all(self, since):
        """The receipts of all that was sent, in order for each producer."""
        got = [[] for _ in since]
        for _ in range(sum(self.next) - sum(since)):
            receipt = self.connection.expect(raw.SEND_RECEIPT)
            got[receipt[1][0] - 10].append(receipt.get(2, [0])[0])
        assert got == [list(range(a, b)) for a, b in zip(since, self.next)]


@pytest.fixture
def held(make_broker, tmp_path):
    return lambda workers, config=None: Held(make_broker, tmp_path, workers, config)


BYTES = {"maxPendingPublishRequestsPerConnection": 0, "tidegateMaxPendingPublishBytesPerConnection": 400}


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_limit_in_flight_is_the_connections_on_all_workers(held, workers):
    with held(workers) as h:
        for _ in range(2):  # the count is right after the first time, too
            h.hold.touch()
            before, since = h.published(), list(h.next)
            h.send(40)
            h.expect_in_flight(LIMIT, before)
            h.go()
            h.expect_all(since)
        h.hold.touch()
        before, since = h.published(), list(h.next)
        h.send(40, which=workers - 1)  # one producer alone has all of it
        h.expect_in_flight(LIMIT, before)
        h.go()
        h.expect_all(since)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_limit_in_bytes_is_the_connections_on_all_workers(held, workers):
    with held(workers, BYTES) as h:
        h.hold.touch()
        since = list(h.next)
        h.send(20, body=b"y" * 85)  # 85 bytes, and some metadata: the fourth reaches it
        h.expect_in_flight(4, 0)
        h.go()
        h.expect_all(since)


@pytest.mark.parametrize("workers", [2, 4])
def test_what_a_producer_that_went_had_in_flight_is_counted_until_it_is_stored(held, workers):
    """Its receipts go to nobody, and still its connection hears that it is read again."""
    with held(workers) as h:
        last = workers - 1
        for which in range(workers):
            name = h.connection.create_producer(h.topics[which], producer_id=50 + which)[2][0].decode()
            h.hold.touch()
            before = h.published()
            h.connection.write(b"".join(raw.send(n, producer_id=50 + which) for n in range(LIMIT)))
            h.expect_in_flight(LIMIT, before)
            rival = h.holders[last]  # its client comes back on another connection
            rival.write(raw.frame(raw.PRODUCER, {1: h.topics[which], 2: 50 + which, 3: 1, 4: name, 8: 1, 9: 0}))
            rival.expect(raw.PRODUCER_SUCCESS)
            h.send(3)  # not read yet
            time.sleep(0.05)
            assert h.published() - before == LIMIT
            h.go()
            got = {}
            while sum(got.values()) < 3 * workers:
                number, fields, _ = h.connection.read()
                if number == raw.SEND_RECEIPT:
                    got[fields[1][0]] = got.get(fields[1][0], 0) + 1
            assert got == {10 + i: 3 for i in range(workers)}


@pytest.mark.parametrize("workers", [2, 4])
def test_an_id_that_moves_to_another_worker_takes_its_part_along(held, workers):
    with held(workers) as h:
        h.connection.create_producer(h.topics[0], producer_id=50)
        for n in range(2 * workers):
            h.hold.touch()
            before = h.published()
            h.connection.write(b"".join(raw.send(i, producer_id=50) for i in range(3)) +
                               raw.frame(raw.CLOSE_PRODUCER, {1: 50, 2: n}))
            h.expect_in_flight(3, before)
            h.send(5)
            h.expect_in_flight(LIMIT, before)
            h.go()
            answers = {}
            while len(answers) < 2 or answers[raw.SEND_RECEIPT] < 3 + 5 * workers:
                number = h.connection.read()[0]
                answers[number] = answers.get(number, 0) + 1
            assert answers == {raw.SEND_RECEIPT: 3 + 5 * workers, raw.SUCCESS: 1}
            h.connection.create_producer(h.topics[(n + 1) % workers], producer_id=50)


@pytest.mark.parametrize("workers", [2, 4])
def test_what_is_parked_over_there_is_not_in_flight(held, workers):
    """And what was parked is, from when it is stored."""
    with held(workers) as h:
        for topic in h.topics:
            h.broker.set_rate(topic, 1000)
        h.send(1, metadata={8: 1, 9: 120_000, 11: 20_000})  # all are in debt for some time
        h.expect_all([0] * workers)
        since = list(h.next)
        h.send(100)
        assert h.connection.is_open()  # all that came before was read
        before = h.published()
        h.hold.touch()
        for topic in h.topics:
            h.broker.set_rate(topic)
        harness.wait_for(lambda: h.published() - before == 100 * workers, what="all that was parked to be in flight")
        h.send(1)
        time.sleep(0.1)
        assert h.published() - before == 100 * workers
        h.go()
        h.expect_all(since)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_limit_in_flight_is_changed_while_the_broker_runs(held, workers):
    with held(workers) as h:
        for limit in (20, 3):
            h.broker.ok("POST", f"/brokers/configuration/maxPendingPublishRequestsPerConnection/{limit}")
            h.hold.touch()
            before, since = h.published(), list(h.next)
            h.send(40)
            h.expect_in_flight(limit, before)
            h.go()
            h.expect_all(since)
        h.broker.restart()
        assert h.broker.ok("GET", "/brokers/configuration/values")["maxPendingPublishRequestsPerConnection"] == "3"
