"""A disk that is full, slow or broken, a tail that was torn by a crash, and stored bytes that have changed."""
import time

import harness
import pytest
import raw

RECORD_HEADER = 48  # bytes in front of a stored body; see docs/storage-format.md


def failing(make_broker, **env):
    return make_broker(env={"FAULT_DIR": "/data/log", **env}, preload=harness.FAULT_SHIM)


def publish(c, first, count):
    for i in range(first, first + count):
        c.write(raw.send(i))
        assert c.expect(raw.SEND_RECEIPT)[2] == [i]


def ends_with(broker, code):
    assert broker.process.wait(10 * harness.SLOWNESS) == code, broker.log_tail()
    return broker.log()


@pytest.mark.parametrize("nth", [4, 5, 8])
def test_a_failed_sync_ends_the_process_and_acknowledges_nothing_more(make_broker, topic, nth):
    b = failing(make_broker, FAULT_FDATASYNC_NTH=str(nth))
    acknowledged = 0
    with raw.Connection(b) as c:
        c.create_producer(topic)
        try:
            while acknowledged < 100:
                publish(c, acknowledged, 1)
                acknowledged += 1
        except raw.Closed:
            pass
    assert acknowledged < 100
    log = ends_with(b, 5)
    assert "sync" in log and "nothing more is acknowledged" in log
    b.env = {}
    b.preload = None
    b.start()
    assert len(b.stored()) >= acknowledged
    with raw.Connection(b) as c:
        c.create_producer(topic)
        publish(c, acknowledged, 3)


def test_a_failed_write_ends_the_process(make_broker, topic, tmp_path):
    switch = tmp_path / "broken"
    b = failing(make_broker, FAULT_EIO_WHILE=str(switch))
    with raw.Connection(b) as c:
        c.create_producer(topic)
        publish(c, 0, 5)
        switch.touch()
        c.write(raw.send(5))
        with pytest.raises(raw.Closed):
            c.read()
    assert "error" in ends_with(b, 5)
    switch.unlink()
    b.start()
    assert len(b.stored()) >= 5


def test_a_full_disk_makes_producers_wait_and_they_go_on_when_there_is_room(make_broker, topic, tmp_path):
    switch = tmp_path / "full"
    b = failing(make_broker, FAULT_FULL_WHILE=str(switch))
    with raw.Connection(b) as c:
        c.create_producer(topic)
        publish(c, 0, 5)
        switch.touch()
        for i in range(5, 50):
            c.write(raw.send(i))
        with pytest.raises(TimeoutError):
            c.read(1)
        assert b.rest("GET", "/brokers/health").status in (200, 503)
        assert "full" in b.log()
        switch.unlink()
        for i in range(5, 50):
            assert c.expect(raw.SEND_RECEIPT)[2] == [i]
    b.restart()
    assert len(b.stored()) == 50


def test_a_receipt_waits_for_the_sync(make_broker, topic):
    b = failing(make_broker, FAULT_SYNC_DELAY_MS="300")
    with raw.Connection(b) as c:
        c.create_producer(topic)
        start = time.monotonic()
        publish(c, 0, 1)
        assert time.monotonic() - start >= 0.3


def test_durability_os_does_not_wait(make_broker, topic):
    b = make_broker("--durability", "os", env={"FAULT_DIR": "/data/log", "FAULT_SYNC_DELAY_MS": "1000"},
                    preload=harness.FAULT_SHIM)
    with raw.Connection(b) as c:
        c.create_producer(topic)
        start = time.monotonic()
        publish(c, 0, 5)
        assert time.monotonic() - start < 1


def filled(b, topic, count=20):
    with raw.Connection(b) as c:
        c.create_producer(topic)
        publish(c, 0, count)
    rows = b.stored()
    assert len(rows) == count
    return rows


def segment_with(b, row):
    """The file in which this entry lies: the one that has its body at this offset."""
    for path in sorted((b.data_dir / "log").iterdir()):
        data = path.read_bytes() if path.is_file() else b""
        if b"raw" in data[row["offset"]:row["offset"] + 200]:
            return path
    raise AssertionError("no file has it")


def test_a_torn_tail_is_cut(broker, topic):
    rows = filled(broker, topic)
    broker.kill()
    path = segment_with(broker, rows[-1])
    with open(path, "r+b") as f:  # what a crash leaves of a group that was being written
        group = path.read_bytes()[rows[-2]["offset"]:rows[-1]["offset"]]
        f.seek(rows[-1]["offset"] + len(group))
        f.write(group[:-3])
    broker.start()
    assert len(broker.stored()) == len(rows)
    with raw.Connection(broker) as c:
        c.create_producer(topic)
        publish(c, 20, 1)


def test_a_changed_byte_stops_the_start_and_is_located(broker, topic):
    rows = filled(broker, topic)
    broker.kill()
    path = segment_with(broker, rows[5])
    with open(path, "r+b") as f:
        f.seek(rows[5]["offset"] + 60)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))
    broker.spawn()
    log = ends_with(broker, 5)
    assert path.name in log
    assert any(str(n) in log for n in range(rows[4]["offset"], rows[6]["offset"]))


def test_every_byte_of_an_entry_matters(make_broker, topic):
    """Whichever byte of a stored entry is changed: the start is refused; it never serves something else."""
    b = make_broker()
    rows = filled(b, topic)
    b.kill()
    path = segment_with(b, rows[5])
    whole = path.read_bytes()
    for offset in range(rows[5]["offset"], rows[5]["offset"] + RECORD_HEADER + rows[5]["bytes"], 3):
        changed = bytearray(whole)
        changed[offset] ^= 0x10
        path.write_bytes(changed)
        b.spawn()
        assert b.process.wait(10 * harness.SLOWNESS) == 5, f"offset {offset}: {b.log_tail()}"
    path.write_bytes(whole)
    b.start()
    assert len(b.stored()) == len(rows)
