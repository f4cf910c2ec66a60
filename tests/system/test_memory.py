"""--memory is kept whatever clients do: partly sent frames, parked frames, receivers that don't read."""
import struct
import time

import harness
import pytest
import raw

MIB = 1 << 20
BUDGET = 96 * MIB
BESIDE = 48 * MIB  # code, libraries, SQLite, allocator: what a broker has that nobody uses, with some room

pytestmark = pytest.mark.skipif(harness.VARIANT != "release", reason="sanitizers need memory of their own")


@pytest.fixture
def small(make_broker):
    return make_broker("--memory", "96M", "--durability", "os")


def highest_memory(broker, seconds):
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, broker.memory_bytes())
        time.sleep(0.05)
    return most


def others_are_served(broker, topic):
    with raw.Connection(broker) as c:
        c.create_producer(topic)
        c.write(raw.send(0))
        c.expect(raw.SEND_RECEIPT, 10)


def fill(connection, data):
    """Writes until the broker takes no more (or closes)."""
    connection.socket.settimeout(0.05)
    try:
        connection.socket.sendall(data)
    except (TimeoutError, BrokenPipeError, ConnectionResetError):
        pass


def test_frames_that_are_never_finished(small, topic):
    connections = []
    part = struct.pack(">I", 5 * MIB) + b"\0\0\0\x05" + b"x" * (4 * MIB)
    for _ in range(100):
        c = raw.Connection(small)
        fill(c, part)
        connections.append(c)
    assert highest_memory(small, 1) < BUDGET + BESIDE
    for c in connections:
        c.close()
    others_are_served(small, topic)


def test_producers_far_over_their_limit(small, topic):
    """Each on a connection of its own, all limited to almost nothing, all sending without end."""
    connections, frame = [], raw.send(0, b"x" * (512 * 1024))
    for i in range(40):
        name = f"{topic}-{i}"
        small.ok("PUT", "/" + harness.rest_path(name))
        small.set_rate(name, bytes_=1000)
        c = raw.Connection(small)
        c.create_producer(name)
        fill(c, frame * 12)
        connections.append(c)
    assert highest_memory(small, 1) < BUDGET + BESIDE
    others_are_served(small, topic)
    for c in connections:
        c.close()


def test_consumers_that_do_not_read(small, topic):
    body = b"x" * (256 * 1024)
    with raw.Connection(small) as p:
        p.create_producer(topic)
        for i in range(100):
            p.write(raw.send(i, body))
            p.expect(raw.SEND_RECEIPT, 20)
    connections = []
    for i in range(60):
        c = raw.Connection(small)
        c.write(raw.subscribe(topic, f"s{i}"))
        c.expect(raw.SUCCESS)
        c.write(raw.flow(1000))
        connections.append(c)
    assert highest_memory(small, 2) < BUDGET + BESIDE
    others_are_served(small, topic + "-o")
    for c in connections:
        c.close()
