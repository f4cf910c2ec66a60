"""A producer that is held at its client, word by word on the wire: what is said and when, what is taken and what is
discarded, and everything that may happen to it meanwhile. On the topic's own worker and on another one."""
import contextlib
import re
import time

import harness
import pytest
import raw

OBEYS, SERVICE_NOT_READY = "Pulsar-CPP-v4.2.0", 6
RATE, WINDOW = 100, 100  # the parking takes 40 of it
PARKED = 40
ID, NAME = 7, "held-one"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    b = harness.Broker(tmp_path_factory.mktemp("shared") / "data", ["--workers", "2"],
                       config={"tidegateParkDelayMs": PARKED * 1000 // RATE})
    b.start()
    yield b
    assert not b.end()


def open_connection(broker, version=OBEYS, more=()):
    c = raw.Connection(broker, handshake=False)
    c.write(raw.frame(raw.CONNECT, {1: version, 4: 21} | dict(more)))
    c.expect(raw.CONNECTED)
    return c


@pytest.fixture(params=["here", "there"])
def held(request, shared, topic):
    """held(): a connection whose producer has just been sent CLOSE_PRODUCER; its topic is on its worker or the other."""
    with contextlib.ExitStack() as stack:
        def make(messages=RATE):
            shared.ok("PUT", "/" + harness.rest_path(topic))
            shared.set_rate(topic, messages=messages)
            if request.param == "there":  # each new connection goes to the worker with the fewest
                first = stack.enter_context(raw.Connection(shared))
                first.create_producer(topic)
            c = stack.enter_context(open_connection(shared))
            return Held(shared, topic, c)
        yield make


class Held:
    def __init__(self, broker, topic, connection):
        self.broker, self.topic, self.c = broker, topic, connection
        self.receipts, self.epoch = [], 0
        self.answer = self.c.create_producer(topic, ID, name=NAME)
        assert self.answer[6] == [1]  # never held from the beginning
        self.c.write(self.sends(range(WINDOW)))
        self.closed = self.expect(raw.CLOSE_PRODUCER)
        self.begun = time.monotonic()
        self.accepted = None

    def sends(self, numbers):
        return b"".join(raw.send(i, producer_id=ID, name=NAME) for i in numbers)

    def expect(self, number, seconds=10):
        """The next command that is no receipt; those are collected."""
        while True:
            got, fields, _ = self.c.read(seconds)
            if got != raw.SEND_RECEIPT:
                assert got == number, f"command {got} instead of {number}: {fields}"
                return fields
            self.receipts.append(fields[2][0])

    def register(self, request_id=50):
        self.epoch += 1
        self.c.write(raw.producer(self.topic, ID, request_id, NAME, self.epoch))

    def register_and_wait(self):
        """Until it may go on: all that was taken has its receipt then."""
        self.register(50)
        told = self.expect(raw.PRODUCER_SUCCESS)
        assert told[1] == [50] and told[2] == [NAME.encode()] and told[6] == [0]
        ready = self.expect(raw.PRODUCER_SUCCESS)
        assert ready[1] == [50] and ready[2] == [NAME.encode()] and ready[6] == [1]
        assert ready[3] == self.answer[3]  # its last sequence id stays
        assert self.receipts == list(range(len(self.receipts)))

    def send_again(self):
        """All that has no receipt, as a client does; and so on until all has one."""
        while True:
            self.c.write(self.sends(range(len(self.receipts), WINDOW)))
            while len(self.receipts) < WINDOW:
                got, fields, _ = self.c.read(10)
                if got == raw.CLOSE_PRODUCER:
                    break
                assert got == raw.SEND_RECEIPT
                self.receipts.append(fields[2][0])
            if len(self.receipts) == WINDOW:
                return
            self.register_and_wait()

    def check_exact(self):
        assert self.receipts == list(range(WINDOW))
        assert self.stored() == WINDOW

    def stored(self):
        return self.broker.stats(self.topic)["msgInCounter"]

    def publisher(self):
        for p in self.broker.stats(self.topic)["publishers"]:
            if p["producerName"] == NAME:
                return p
        return None

    def is_gone(self):
        return self.publisher() is None

    def read_nothing(self, seconds=0.5):
        """But receipts."""
        try:
            got, fields, _ = self.c.read(seconds)
            while got == raw.SEND_RECEIPT:
                self.receipts.append(fields[2][0])
                got, fields, _ = self.c.read(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"command {got}: {fields}")


def test_nothing_is_lost_doubled_or_out_of_order(held):
    h = held()
    h.register_and_wait()
    assert PARKED < len(h.receipts) < WINDOW
    h.send_again()
    h.check_exact()
    p = h.publisher()
    assert p["holds"] >= 1 and p["discardedMessages"] >= WINDOW - PARKED - 15
    assert p["producerId"] == ID


def test_the_address_is_the_one_that_lookup_gives(held):
    h = held()
    h.c.write(raw.frame(raw.LOOKUP, {1: h.topic, 2: 1}))
    assert h.closed[3] == h.expect(raw.LOOKUP_RESPONSE)[1] == [h.broker.url.encode()]


@pytest.mark.parametrize("field", [{6: "other:6650"}, {7: "somebody"}, {11: "4.0"}])
def test_no_address_through_a_proxy(shared, topic, field):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=RATE)
    with open_connection(shared, more=field) as c:
        assert 3 not in Held(shared, topic, c).closed


def test_no_receipt_between_close_producer_and_producer(held):
    h = held()
    taken_before = len(h.receipts)
    time.sleep(0.3)  # 30 of those parked are stored meanwhile
    h.c.write(raw.frame(raw.PING, {}))
    assert h.c.read(10)[0] == raw.PONG  # nothing came before it
    h.register()
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [0]
    assert len(h.receipts) == taken_before  # first the answer
    h.expect(raw.PRODUCER_SUCCESS)
    assert h.receipts == list(range(len(h.receipts))) and len(h.receipts) > PARKED


def test_what_is_sent_before_ready_is_discarded(held):
    h = held()
    h.c.write(h.sends(range(WINDOW, WINDOW + 10)))  # old ones that come late
    h.register()
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [0]
    h.c.write(h.sends(range(WINDOW + 10, WINDOW + 20)))
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [1]
    assert h.receipts == list(range(len(h.receipts)))
    stored = h.stored()
    assert stored == len(h.receipts) <= WINDOW
    h.c.write(h.sends(range(WINDOW + 20, WINDOW + 30)))  # beyond what was discarded: old as well
    h.c.write(h.sends(range(stored, stored + 5)))
    h.read_nothing()
    assert h.receipts == list(range(stored + 5))
    assert h.stored() == stored + 5


def test_old_frames_only_and_it_is_held_once_more_without_that_check(held):
    h = held()
    h.register_and_wait()
    stored = h.stored()
    h.c.write(h.sends([WINDOW + 1]))  # those before it have expired at the client
    h.expect(raw.CLOSE_PRODUCER)
    h.register_and_wait()
    h.c.write(h.sends([WINDOW + 1, WINDOW + 2]))
    h.read_nothing()
    assert h.receipts == [*range(stored), WINDOW + 1, WINDOW + 2]


def test_receipts_wait_until_what_was_discarded_has_come_again(held):
    h = held()
    h.register_and_wait()
    time.sleep(0.2)  # tokens for some
    first = len(h.receipts)
    h.c.write(h.sends([first]))
    time.sleep(0.1)
    h.c.write(raw.frame(raw.PING, {}))
    assert h.c.read(10)[0] == raw.PONG
    h.read_nothing()  # but a silence of 250 ms ends it
    assert h.receipts == list(range(first + 1))


def test_one_hold_a_second(held):
    h = held()
    h.broker.set_rate(h.topic, messages=1000 * RATE)  # all that is parked goes at once
    h.register_and_wait()
    assert time.monotonic() - h.begun > 0.95


@pytest.mark.parametrize("version", ["Pulsar-Go-v0.9.0", "Pulsar Go v0.12.0", "Pulsar-CPP-v3.0.0", "raw-test", ""])
def test_a_client_that_is_not_known_to_obey_is_never_held(shared, topic, version):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=RATE)
    with open_connection(shared, version) as c:
        c.create_producer(topic, ID)
        c.write(b"".join(raw.send(i, producer_id=ID) for i in range(WINDOW)))
        harness.wait_for(lambda: shared.stats(topic)["publishers"][0]["throttleStep"] == "pause", what="the pause")
        for i in range(WINDOW):
            assert c.expect(raw.SEND_RECEIPT)[2] == [i]
        assert shared.stats(topic)["holds"] == 0


def test_hold_can_be_turned_off(make_broker, topic):
    b = make_broker(config={"tidegateParkDelayMs": 100, "tidegateHoldProducers": "false"})
    b.ok("PUT", "/" + harness.rest_path(topic))
    b.set_rate(topic, messages=RATE)
    with open_connection(b) as c:
        c.create_producer(topic, ID)
        c.write(b"".join(raw.send(i, producer_id=ID) for i in range(WINDOW)))
        for i in range(WINDOW):
            assert c.expect(raw.SEND_RECEIPT)[2] == [i]


def test_one_that_sends_on_is_sent_away_once_and_never_held_again(held):
    h = held()
    h.broker.set_rate(h.topic, messages=1)  # what is parked lasts for long
    h.register()
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [0]
    end = time.monotonic() + 2.1
    while time.monotonic() < end:
        h.read_nothing(0.1)
    h.c.write(h.sends(range(WINDOW, WINDOW + 10)))
    h.expect(raw.CLOSE_PRODUCER)
    h.register(51)
    answer = h.expect(raw.PRODUCER_SUCCESS)
    assert answer[1] == [51] and answer[6] == [1]
    h.c.write(h.sends(range(len(h.receipts), WINDOW)))
    harness.wait_for(lambda: h.publisher()["throttleStep"] == "pause", what="the pause")
    h.broker.set_rate(h.topic, messages=100 * RATE)
    while len(h.receipts) < WINDOW:
        h.receipts += h.c.expect(raw.SEND_RECEIPT)[2]
    h.check_exact()


# ---- what may happen meanwhile ----

def test_closed_by_its_client(held):
    h = held()
    h.register()
    h.expect(raw.PRODUCER_SUCCESS)
    h.c.write(raw.frame(raw.CLOSE_PRODUCER, {1: ID, 2: 77}))
    assert h.expect(raw.SUCCESS, 2)[1] == [77]
    stored = h.stored()
    assert stored == len(h.receipts) < PARKED  # what was parked is gone, the rest is acknowledged
    h.read_nothing(1)
    assert h.stored() == stored and h.is_gone()


def test_a_producer_of_its_name_takes_over(held):
    """A client that closes it while it is held says nothing."""
    h = held()
    h.register()
    h.expect(raw.PRODUCER_SUCCESS)
    h.c.write(raw.producer(h.topic, ID + 1, 60, NAME))
    answer = h.expect(raw.PRODUCER_SUCCESS)
    assert answer[1] == [60] and answer[2] == [NAME.encode()] and answer[6] == [1]
    assert h.publisher()["producerId"] == ID + 1
    stored = h.stored()
    h.read_nothing(0.7)
    assert h.stored() == stored


def test_another_connection_does_not_take_its_name(held):
    h = held()
    with raw.Connection(h.broker) as other:
        other.write(raw.producer(h.topic, 1, 60, NAME))
        assert other.expect(raw.ERROR)[1] == [60]
    h.register_and_wait()


@pytest.mark.parametrize("registered", [True, False])
def test_its_topic_is_deleted(held, registered):
    h = held()
    if registered:
        h.register()
        h.expect(raw.PRODUCER_SUCCESS)
    h.broker.ok("DELETE", f"/{harness.rest_path(h.topic)}?force=true")
    if registered:
        error = h.expect(raw.ERROR)
        assert error[1] == [50] and error[2] == [SERVICE_NOT_READY]
    h.read_nothing()
    h.c.write(raw.producer(h.topic, ID, 51, NAME, 2))  # made anew: everything begins again
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [1]
    h.c.write(h.sends(range(5)))
    h.receipts.clear()
    h.read_nothing()
    assert h.receipts == list(range(5))


def test_its_connection_is_lost(held):
    h = held()
    h.c.close()
    harness.wait_for(h.is_gone, what="the producer's end")
    stored = h.stored()
    time.sleep(0.7)
    assert h.stored() == stored < WINDOW


def test_its_limit_is_removed(held):
    h = held(messages=2)
    h.register()
    h.expect(raw.PRODUCER_SUCCESS)
    h.broker.ok("DELETE", f"/{harness.rest_path(h.topic)}/publishRate")
    start = time.monotonic()
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [1]
    assert time.monotonic() - start < 1.5 * harness.SLOWNESS
    h.send_again()
    h.check_exact()


def test_the_broker_stops(make_broker, topic):
    b = make_broker(config={"tidegateParkDelayMs": 400})
    b.ok("PUT", "/" + harness.rest_path(topic))
    b.set_rate(topic, messages=RATE)
    with open_connection(b) as c:
        h = Held(b, topic, c)
        h.register()
        h.expect(raw.PRODUCER_SUCCESS)
        c.write(h.sends(range(WINDOW, WINDOW + 10)))
        assert b.stop() == 0
        with contextlib.suppress(raw.Closed):
            while True:
                got, fields, _ = c.read()
                assert got == raw.SEND_RECEIPT
                h.receipts += fields[2]
    assert h.receipts == list(range(len(h.receipts)))
    assert len(b.stored()) == len(h.receipts)


@pytest.mark.slow
@pytest.mark.limit(150)
def test_a_client_that_does_not_come_back_is_forgotten(held):
    h = held()
    time.sleep(28)
    assert h.publisher()["throttleStep"] == "hold"
    harness.wait_for(h.is_gone, 4, what="the producer's end")
    h.c.write(raw.producer(h.topic, ID, 51, NAME, 1))
    assert h.expect(raw.PRODUCER_SUCCESS)[6] == [1]
    h.read_nothing()
    metrics = h.broker.rest("GET", "/metrics", base="").text
    assert sum(map(float, re.findall(r"^tidegate_forgotten_producers_total\S* (\S+)$", metrics, re.M))) >= 1


def test_a_full_connection_may_register_again(make_broker, topic):
    """As many producers as it may have: one that is held takes its own place."""
    b = make_broker(config={"tidegateParkDelayMs": 400, "tidegateMaxProducersPerConnection": 1})
    b.ok("PUT", "/" + harness.rest_path(topic))
    b.set_rate(topic, messages=RATE)
    with open_connection(b) as c:
        h = Held(b, topic, c)
        h.register_and_wait()


def test_many_producers_of_a_connection_held_at_once(shared, topic):
    """Every one exact, and one that is not over its limit goes on meanwhile."""
    count, each = 20, 40
    names = [f"{topic}-{i}" for i in range(count)]
    with open_connection(shared) as c:
        for i, name in enumerate(names):
            shared.ok("PUT", "/" + harness.rest_path(name))
            shared.set_rate(name, messages=20)  # 8 of them are parked
            c.create_producer(name, i)
        c.create_producer(topic, count)
        c.write(b"".join(raw.send(n, producer_id=i) for n in range(each) for i in range(count)))
        receipts = {i: [] for i in range(count)}
        epochs, neighbour, sent = dict.fromkeys(receipts, 0), 0, 0
        end = time.monotonic() + 60 * harness.SLOWNESS
        while any(len(r) < each for r in receipts.values()):
            assert time.monotonic() < end
            if neighbour == sent:
                c.write(raw.send(sent, producer_id=count))
                sent += 1
            got, fields, _ = c.read()
            if got == raw.SEND_RECEIPT:
                i = fields[1][0]
                if i == count:
                    neighbour += 1
                else:
                    receipts[i].append(fields[2][0])
            elif got == raw.CLOSE_PRODUCER:
                i = fields[1][0]
                epochs[i] += 1
                c.write(raw.producer(names[i], i, 100 + i, epoch=epochs[i]))
            elif got == raw.PRODUCER_SUCCESS and fields[6] == [1]:
                i = fields[1][0] - 100
                c.write(b"".join(raw.send(n, producer_id=i) for n in range(len(receipts[i]), each)))
        assert all(r == list(range(each)) for r in receipts.values())
        assert neighbour > 100 and sum(epochs.values()) >= count
    assert all(shared.stats(n)["msgInCounter"] == each for n in names)


def test_where_memory_is_short_all_get_their_turn(make_broker, topic):
    """Each producer's client always has 2 s of its limit outstanding, and all of that fits what it may park; but the memory
    for parked frames, 2 MB, is enough for half of them. Those who have it don't keep it for good."""
    count, window, body = 10, 40, b"x" * 10_000
    b = make_broker(config={"maxMessagePublishBufferSizeInMB": 3})
    names = [f"{topic}-{i}" for i in range(count)]
    with open_connection(b) as c:
        for i, name in enumerate(names):
            b.ok("PUT", "/" + harness.rest_path(name))
            b.set_rate(name, messages=window // 2)
            c.create_producer(name, i)
        stored, sent, epochs, waits = [0] * count, [0] * count, [0] * count, [False] * count

        def fill(i):
            if not waits[i]:
                c.write(b"".join(raw.send(n, body, producer_id=i) for n in range(sent[i], stored[i] + window)))
                sent[i] = stored[i] + window

        for i in range(count):
            fill(i)
        end = time.monotonic() + 40 * harness.SLOWNESS
        while min(stored) < 2 * window:
            assert time.monotonic() < end, stored
            got, fields, _ = c.read()
            if got == raw.SEND_RECEIPT:
                i = fields[1][0]
                assert fields[2] == [stored[i]]
                stored[i] += 1
                fill(i)
            elif got == raw.CLOSE_PRODUCER:
                i = fields[1][0]
                epochs[i] += 1
                waits[i] = True
                c.write(raw.producer(names[i], i, 100 + i, epoch=epochs[i]))
            elif got == raw.PRODUCER_SUCCESS and fields[6] == [1]:
                i = fields[1][0] - 100
                sent[i], waits[i] = stored[i], False
                fill(i)
