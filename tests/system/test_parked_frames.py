"""Frames that wait for a limit: in order, answered once, and gone with their producer or connection."""
import time

import harness
import pytest
import raw

RATE = 20


@pytest.fixture
def limited(shared, topic):
    shared.ok("PUT", "/" + harness.rest_path(topic))
    shared.set_rate(topic, messages=RATE)
    return topic


def stored(shared, topic):
    return shared.stats(topic)["msgInCounter"]


def test_receipts_come_in_order_and_at_the_rate(shared, limited):
    with raw.Connection(shared) as c:
        c.create_producer(limited)
        start = time.monotonic()
        c.write(b"".join(raw.send(i) for i in range(3 * RATE)))
        got = [c.expect(raw.SEND_RECEIPT)[2][0] for _ in range(3 * RATE)]
        took = time.monotonic() - start
    assert got == list(range(3 * RATE))
    # the first RATE / 10 are there at the start; the last one may overdraw
    assert took > (3 * RATE - RATE / 10 - 2) / RATE
    assert took < 3 * RATE / RATE + 1 * harness.SLOWNESS


def test_frames_of_a_connection_that_is_gone_are_never_stored(shared, limited):
    c = raw.Connection(shared)
    c.create_producer(limited)
    c.write(b"".join(raw.send(i) for i in range(2 * RATE)))
    c.expect(raw.SEND_RECEIPT)
    c.close()
    harness.wait_for(lambda: not shared.stats(limited)["publishers"], what="the producer's end")
    count = stored(shared, limited)
    assert count < 2 * RATE
    time.sleep(1.5)
    assert stored(shared, limited) == count


def test_frames_of_a_closed_producer_are_never_stored_and_its_neighbour_goes_on(shared, limited, topic):
    other = topic + "-other"
    with raw.Connection(shared) as c:
        c.create_producer(limited, 1)
        c.create_producer(other, 2)
        c.write(b"".join(raw.send(i) for i in range(2 * RATE)))
        c.expect(raw.SEND_RECEIPT)
        c.write(raw.frame(raw.CLOSE_PRODUCER, {1: 1, 2: 77}))
        while True:
            number, fields, _ = c.read()
            if number == raw.SUCCESS:
                assert fields[1] == [77]
                break
            assert number == raw.SEND_RECEIPT
        count = stored(shared, limited)
        assert count < 2 * RATE
        c.write(raw.send(0, producer_id=2))
        assert c.expect(raw.SEND_RECEIPT)[1] == [2]
        time.sleep(1.5)
        assert stored(shared, limited) == count


def test_a_throttled_producer_does_not_delay_its_neighbours_on_the_connection(shared, limited, topic):
    other = topic + "-other"
    with raw.Connection(shared) as c:
        c.create_producer(limited, 1)
        c.create_producer(other, 2)
        c.write(b"".join(raw.send(i) for i in range(2 * RATE)))
        waits = []
        for i in range(20):
            c.write(raw.send(i, producer_id=2))
            start = time.monotonic()
            while c.expect(raw.SEND_RECEIPT)[1] != [2]:
                pass
            waits.append(time.monotonic() - start)
        assert max(waits) < 0.5 * harness.SLOWNESS


def test_raising_and_removing_a_limit_lets_those_who_wait_go(shared, limited):
    with raw.Connection(shared) as c:
        c.create_producer(limited)
        c.write(b"".join(raw.send(i) for i in range(2 * RATE)))
        c.expect(raw.SEND_RECEIPT)
        shared.ok("DELETE", f"/{harness.rest_path(limited)}/publishRate")
        start = time.monotonic()
        for i in range(1, 2 * RATE):
            assert c.expect(raw.SEND_RECEIPT)[2] == [i]
        assert time.monotonic() - start < 1 * harness.SLOWNESS


def test_a_message_is_counted_by_its_metadata_not_by_the_command(shared, limited):
    """A batch of RATE that calls itself one message costs RATE."""
    with raw.Connection(shared) as c:
        c.create_producer(limited)
        understated = raw.send(0, messages=RATE).replace(raw.encode({3: RATE}), raw.encode({3: 1}), 1)
        c.write(understated)
        c.expect(raw.SEND_RECEIPT)
        start = time.monotonic()
        c.write(raw.send(1))
        c.expect(raw.SEND_RECEIPT)
        assert time.monotonic() - start > 0.7
