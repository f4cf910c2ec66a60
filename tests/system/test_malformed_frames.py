"""What no proper client sends: at most the connection it came on ends, with a reason in the log, and the others
go on. A bystander publishes all the while; each of its messages must be acknowledged on its first connection."""
import random
import struct

import harness
import pytest
import raw

TOPIC = "persistent://public/default/victim"


class Bystander:
    def __init__(self, broker, topic):
        self.connection = raw.Connection(broker)
        self.connection.create_producer(topic)
        self.next = 0

    def publishes(self):
        self.connection.write(raw.send(self.next))
        receipt = self.connection.expect(raw.SEND_RECEIPT, 10 * harness.SLOWNESS)
        assert receipt[2] == [self.next]
        self.next += 1


@pytest.fixture
def bystander(shared, topic):
    b = Bystander(shared, topic)
    b.publishes()
    yield b
    b.publishes()
    b.connection.close()


def conversation(topic):
    """What a client says that publishes and consumes a little."""
    return [
        raw.connect(),
        raw.frame(raw.PARTITIONED_METADATA, {1: topic, 2: 1}),
        raw.frame(raw.LOOKUP, {1: topic, 2: 2}),
        raw.producer(topic, 1, 3, name="someone"),
        raw.send(0, b"payload", name="someone"),
        raw.send(1, b"batch", name="someone", messages=3),
        raw.subscribe(topic, "s", 1, 4),
        raw.flow(10),
        raw.frame(raw.ACK, {1: 1, 2: 0, 3: {1: 0, 2: 0}}),
        raw.frame(raw.REDELIVER, {1: 1}),
        raw.frame(raw.CLOSE_CONSUMER, {1: 1, 2: 5}),
        raw.frame(raw.CLOSE_PRODUCER, {1: 1, 2: 6}),
        raw.frame(raw.PING, {}),
    ]


def say(broker, data):
    """Says it on a connection of its own and hangs up."""
    with raw.Connection(broker, handshake=False) as c:
        try:
            c.write(data)
            c.read(0.02)
        except (raw.Closed, TimeoutError):
            pass


def test_truncated_anywhere(shared, bystander, topic):
    whole = b"".join(conversation(topic + "-t"))
    for cut in range(0, len(whole), 7):
        say(shared, whole[:cut])
        if cut % 10 == 0:
            bystander.publishes()


def test_bit_flips_anywhere(shared, bystander, topic):
    choose = random.Random(4711)
    frames = conversation(topic + "-f")
    for i in range(300):
        data = bytearray(b"".join(frames))
        for _ in range(choose.randint(1, 4)):
            bit = choose.randrange(len(data) * 8)
            data[bit >> 3] ^= 1 << (bit & 7)
        say(shared, bytes(data))
        if i % 10 == 0:
            bystander.publishes()


def test_random_bytes_after_the_handshake(shared, bystander):
    choose = random.Random(42)
    for _ in range(100):
        size = choose.randrange(1, 400)
        junk = choose.randbytes(size)
        say(shared, raw.connect() + junk)
        say(shared, raw.connect() + struct.pack(">II", size + 4, min(size, choose.randrange(400))) + junk)
    bystander.publishes()


def closes(broker, data, handshake=True):
    """True when the broker ends the connection after this; and then its log has a line about it."""
    before = len(broker.log())
    with raw.Connection(broker, handshake=handshake) as c:
        try:
            c.write(data)
            while True:
                c.read(3 * harness.SLOWNESS)
        except raw.Closed:
            harness.wait_for(lambda: "conn " in broker.log()[before:], what="a line in the log")
            return True
        except TimeoutError:
            return False


@pytest.mark.parametrize("data", [
    pytest.param(struct.pack(">I", 0x7FFFFFFF), id="a frame of 2 GB"),
    pytest.param(struct.pack(">I", 0xFFFFFFFF), id="a negative size"),
    pytest.param(struct.pack(">II", 8, 0x7FFFFFFF) + b"abcd", id="a command longer than its frame"),
    pytest.param(struct.pack(">I", 0), id="an empty frame"),
    pytest.param(struct.pack(">II", 7, 3) + b"\xff\xff\xff", id="a command that is no protobuf"),
    pytest.param(struct.pack(">II", 4, 0), id="an empty command"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="HTTP"),
])
def test_what_is_no_frame_closes_that_connection(shared, bystander, data):
    assert closes(shared, data)


@pytest.mark.parametrize("data", [
    pytest.param(raw.producer(TOPIC), id="PRODUCER"),
    pytest.param(raw.send(0), id="SEND"),
    pytest.param(raw.subscribe(TOPIC), id="SUBSCRIBE"),
    pytest.param(raw.frame(raw.PING, {}), id="PING"),
])
def test_a_command_before_connect_closes(shared, bystander, data):
    assert closes(shared, data, handshake=False)


def test_a_second_connect_closes(shared, bystander):
    assert closes(shared, raw.connect())


def test_send_for_a_producer_that_is_not_there(shared, bystander):
    closes(shared, raw.send(0, producer_id=99))  # whether it ends that connection or not, nobody else feels it
    bystander.publishes()


def test_oversize_message_is_not_stored_and_ends_at_most_its_connection(make_broker, topic):
    b = make_broker(config={"maxMessageSize": 20000})
    by = Bystander(b, topic + "-b")
    with raw.Connection(b) as c:
        c.create_producer(topic)
        c.write(raw.send(0, b"x" * 15000))
        c.expect(raw.SEND_RECEIPT)
        try:
            c.write(raw.send(1, b"x" * 200000))
            number, fields, _ = c.read(5)
            assert number in (raw.SEND_ERROR, raw.ERROR), (number, fields)
        except raw.Closed:
            pass
    by.publishes()
    assert b.stats(topic)["msgInCounter"] == 1


def test_wrong_checksum_is_refused_and_nothing_stored(shared, bystander, topic):
    name = topic + "-c"
    with raw.Connection(shared) as c:
        c.create_producer(name)
        c.write(raw.send(0, checksum=12345))
        error = c.expect(raw.SEND_ERROR)
        assert error[1] == [1] and error[2] == [0] and error[3] == [9]  # ChecksumError
        c.write(raw.send(1))
        c.expect(raw.SEND_RECEIPT)
    assert shared.stats(name)["msgInCounter"] == 1


def test_wrong_names_are_answered_and_the_connection_stays(shared, topic):
    with raw.Connection(shared) as c:
        for i, name in enumerate(["http://a/b/c", "persistent://a/b", "persistent://a/b/c/d/e", "", "a/b",
                                  "persistent://public/default/\x01", "persistent://no-tenant/x/y", "x" * 5000]):
            c.write(raw.producer(name, 1, i))
            fields = c.expect(raw.ERROR)
            assert fields[1] == [i] and fields[3][0]
        assert c.is_open()


@pytest.mark.parametrize("name", [b"x" * 3_000_000, b"\xff", b"a\nb"], ids=["long", "no-utf8", "newline"])
def test_names_of_producers_and_consumers_are_text_and_bounded(shared, topic, name):
    """They are kept as long as who has them, and are seen in statistics."""
    with raw.Connection(shared) as c:
        c.write(raw.frame(raw.PRODUCER, {1: topic, 2: 1, 3: 1, 4: name}))
        assert c.expect(raw.ERROR)[1] == [1]
        c.write(raw.frame(raw.SUBSCRIBE, {1: topic, 2: "sub", 3: 1, 4: 1, 5: 2, 6: name}))
        assert c.expect(raw.ERROR)[1] == [2]
        assert c.is_open()


def test_bytes_that_come_one_by_one(shared, topic):
    with raw.Connection(shared, handshake=False) as c:
        for data, answer in ((raw.connect(), raw.CONNECTED), (raw.producer(topic), raw.PRODUCER_SUCCESS),
                             (raw.send(0), raw.SEND_RECEIPT)):
            for b in data:
                c.write(bytes([b]))
            c.expect(answer)
