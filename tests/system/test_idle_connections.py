"""Connections that say nothing, or not enough: the handshake's time-out and keep-alive."""
import time

import harness
import pytest
import raw


def seconds_until_closed(connection, most):
    start = time.monotonic()
    try:
        while True:
            connection.read(most)
    except raw.Closed:
        return time.monotonic() - start
    except TimeoutError:
        return None


@pytest.fixture
def hasty(make_broker):
    return make_broker(config={"tidegateHandshakeTimeoutMs": 300, "keepAliveIntervalSeconds": 1})


def test_silence_before_connect(hasty):
    took = seconds_until_closed(raw.Connection(hasty, handshake=False), 5 * harness.SLOWNESS)
    assert took is not None and 0.2 < took < 2 * harness.SLOWNESS
    assert "no CONNECT within 300 ms" in hasty.log()


def test_a_handshake_that_dribbles(hasty):
    c = raw.Connection(hasty, handshake=False)
    start = time.monotonic()
    with pytest.raises(raw.Closed):
        for b in raw.connect()[:-1] * 100:
            c.write(bytes([b]))
            time.sleep(0.05)
            c.socket.setblocking(False)
            try:
                if not c.socket.recv(1):
                    raise raw.Closed
            except BlockingIOError:
                pass
            except ConnectionResetError as e:
                raise raw.Closed from e
            c.socket.setblocking(True)
    assert time.monotonic() - start < 2 * harness.SLOWNESS


def test_a_peer_that_answers_pings_stays(hasty):
    with raw.Connection(hasty) as c:
        assert seconds_until_closed(c, 5) is None  # read() answers


def test_a_peer_that_is_dead_is_closed(hasty):
    c = raw.Connection(hasty)
    start = time.monotonic()
    c.socket.settimeout(10 * harness.SLOWNESS)
    while c.socket.recv(1000):
        pass
    assert time.monotonic() - start < 6 * harness.SLOWNESS


def test_a_silent_crowd_does_not_keep_others_out(hasty, topic):
    crowd = [raw.Connection(hasty, handshake=False) for _ in range(200)]
    with raw.Connection(hasty) as c:
        c.create_producer(topic)
        c.write(raw.send(0))
        c.expect(raw.SEND_RECEIPT)
    for c in crowd:
        c.close()
