"""What the log takes on disk: what nobody needs goes, and what little is needed does not keep the rest."""
import subprocess
import sys

import harness
import pytest
import raw

MB = 1 << 20
SMALL_SEGMENTS = {"tidegateSegmentSizeMB": 1, "maxMessageSize": 65536}
TOPICS, EACH, SIZE = 1000, 12, 2000
LATE = 8  # so many topics begin in one round of publishing: their last messages are spread over all segments
RECORD = 48 + SIZE + 60  # a record's header, the body, the metadata: not less than an entry takes


def name(n):
    return f"persistent://public/default/space-{n}"


def metric(broker, what):
    text = broker.rest("GET", "/metrics", base="").text
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(what + "{"))


def segment_bytes(broker):
    """Bytes of the log's files that are in use, and of the spare."""
    return sum(p.stat().st_size for p in (broker.data_dir / "log").glob("seg-*"))


PEAK = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""


def peak_memory_kb(*words):
    """Resident memory of one command, at its peak. By a small process of its own: what a child's parent had when
    it was made counts as the child's."""
    return int(subprocess.run([sys.executable, "-c", PEAK, *words], stdout=subprocess.PIPE, check=True).stdout)


def publish_all(broker, topics):
    body = raw.payload({1: "space", 2: 0, 3: 1}, b"x" * SIZE)
    with raw.Connection(broker, seconds=60) as c:
        for n in range(topics):
            c.write(raw.subscribe(name(n), "s", n, n, sub_type=0))
            c.expect(raw.SUCCESS, 30)
            c.create_producer(name(n), n)
        for turn in range(EACH + topics // LATE):
            now = [n for n in range(topics) if n // LATE <= turn < n // LATE + EACH]
            c.write(b"".join(raw.frame(raw.SEND, {1: n, 2: turn - n // LATE}, body) for n in now))
            for _ in now:
                c.expect(raw.SEND_RECEIPT, 30)


def receive(c, consumer, count):
    """`count` messages and no more; returns the last one's id."""
    c.write(raw.flow(count, consumer))
    for _ in range(count):
        number, fields, _ = c.read(30)
        assert number == raw.MESSAGE and fields[1] == [consumer]
    return raw.decode(fields[2][0])


def consume_all_but_the_last(broker, topics):
    with raw.Connection(broker, seconds=60) as c:
        for n in range(topics):
            c.write(raw.subscribe(name(n), "s", n, n, sub_type=0))
            c.expect(raw.SUCCESS, 30)
            last = receive(c, n, EACH - 1)
            c.write(raw.frame(raw.ACK, {1: n, 2: 1, 3: {1: last[1][0], 2: last.get(2, [0])[0]}}))
        assert c.is_open()


def the_last_ones_are_there(broker, topics):
    with raw.Connection(broker, seconds=60) as c:
        for n in range(topics):
            c.write(raw.subscribe(name(n), "s", n, n, sub_type=0))
            c.expect(raw.SUCCESS, 30)
            assert receive(c, n, 1)[2] == [EACH - 1]


@pytest.mark.limit(240)
def test_one_message_of_each_of_1000_topics_never_consumed(make_broker):
    topics = TOPICS if harness.VARIANT == "release" else TOPICS // 2
    b = make_broker(config=SMALL_SEGMENTS)
    publish_all(b, topics)
    before = metric(b, "tidegate_store_log_bytes")
    assert before > topics * EACH * SIZE
    consume_all_but_the_last(b, topics)
    bound = 4 * topics * RECORD + 2 * MB
    assert bound < before / 2
    harness.wait_for(lambda: metric(b, "tidegate_store_log_bytes") <= bound, 30, "little space")
    the_last_ones_are_there(b, topics)
    for crash in True, False:
        b.restart(crash=crash)
        the_last_ones_are_there(b, topics)
    harness.wait_for(lambda: segment_bytes(b) <= bound + MB, 30, "little space, with the spare")
    assert b.cli("store", "verify", "--data-dir", str(b.data_dir)).stdout.count("no damage") == 1


def test_verify_needs_little_memory_and_says_where_the_damage_is(make_broker):
    b = make_broker()
    with raw.Connection(b, seconds=60) as c:
        c.create_producer(name("v"))
        c.write(raw.subscribe(name("v"), "s", sub_type=0))
        c.expect(raw.SUCCESS)
        frame = raw.frame(raw.SEND, {1: 1, 2: 0}, raw.payload({1: "space", 2: 0, 3: 1}, b"x" * 500_000))
        for _ in range(20 if harness.VARIANT != "release" else 200):
            c.write(frame)
            c.expect(raw.SEND_RECEIPT)
    live = b.cli("store", "verify", "--data-dir", str(b.data_dir))
    assert "no damage" in live.stdout and "a broker uses it" in live.stdout
    b.stop()
    rows = b.stored()
    good = b.cli("store", "verify", "--data-dir", str(b.data_dir))
    assert f"{len(rows)} entries" in good.stdout and "no damage" in good.stdout
    if harness.VARIANT == "release":
        assert peak_memory_kb(harness.TIDEGATE, "store", "verify", "--data-dir", str(b.data_dir)) < 400 * 1024
    path = b.data_dir / "log" / f"seg-{rows[0]['segment']:08}.log"
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[rows[0]["offset"] + 1000] ^= 1
    path.write_bytes(changed)
    bad = b.cli("store", "verify", "--data-dir", str(b.data_dir), check=False)
    assert bad.returncode == 5
    assert f"offset {rows[0]['offset']}" in bad.stdout and path.name in bad.stdout
    assert "Put back" in bad.stdout
    path.write_bytes(whole)
    path.rename(path.with_name("seg-00000077.log"))
    bad = b.cli("store", "verify", "--data-dir", str(b.data_dir), check=False)
    assert bad.returncode == 5 and "not the header of that segment" in bad.stdout
    assert "does not start" in bad.stdout
    path.with_name("seg-00000077.log").rename(path)
    b.start()
    assert b.cli("store", "verify", "--data-dir", str(b.data_dir / "nothing"), check=False).returncode == 1
