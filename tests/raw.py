"""A client that builds its frames by hand, so that a test can send what no proper client would.

A command is written as (number, {field: value}); a value is an int (varint), str or bytes, a dict (a message of
its own) or a list of these (a repeated field). What comes back is decoded the same way, fields as lists.
"""
import socket
import struct
import time

CONNECT, CONNECTED, SUBSCRIBE, PRODUCER, SEND, SEND_RECEIPT, SEND_ERROR, MESSAGE = range(2, 10)
ACK, FLOW, UNSUBSCRIBE, SUCCESS, ERROR, CLOSE_PRODUCER, CLOSE_CONSUMER, PRODUCER_SUCCESS = range(10, 18)
PING, PONG, REDELIVER, PARTITIONED_METADATA, PARTITIONED_METADATA_RESPONSE, LOOKUP, LOOKUP_RESPONSE = range(18, 25)
SEEK = 28
MAGIC = 0x0E01

_TABLE = []
for _n in range(256):
    for _ in range(8):
        _n = _n >> 1 ^ 0x82F63B78 if _n & 1 else _n >> 1
    _TABLE.append(_n)


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = c >> 8 ^ _TABLE[(c ^ b) & 255]
    return c ^ 0xFFFFFFFF


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def encode(fields):
    out = b""
    for number, value in fields.items():
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, int):
                out += varint(number << 3) + varint(v)
                continue
            body = encode(v) if isinstance(v, dict) else v.encode() if isinstance(v, str) else v
            out += varint(number << 3 | 2) + varint(len(body)) + body
    return out


def _read_varint(data, at):
    n = shift = 0
    while True:
        b = data[at]
        at += 1
        n |= (b & 127) << shift
        shift += 7
        if b < 128:
            return n, at


def decode(data):
    """{field: [values]}; values of length-delimited fields stay bytes."""
    fields, at = {}, 0
    while at < len(data):
        key, at = _read_varint(data, at)
        if key & 7 == 0:
            value, at = _read_varint(data, at)
        elif key & 7 == 2:
            size, at = _read_varint(data, at)
            value, at = data[at:at + size], at + size
        elif key & 7 == 1:
            value, at = data[at:at + 8], at + 8
        else:
            value, at = data[at:at + 4], at + 4
        fields.setdefault(key >> 3, []).append(value)
    return fields


def frame(number, fields, payload=None):
    """payload: metadata and body of a message, already encoded, with magic and checksum in front."""
    command = encode({1: number, number: fields})
    rest = struct.pack(">I", len(command)) + command + (payload or b"")
    return struct.pack(">I", len(rest)) + rest


def payload(metadata, body, checksum=None):
    encoded = encode(metadata)
    checked = struct.pack(">I", len(encoded)) + encoded + body
    return struct.pack(">HI", MAGIC, crc32c(checked) if checksum is None else checksum) + checked


def connect(version="raw-test", protocol=21):
    return frame(CONNECT, {1: version, 4: protocol})


def producer(topic, producer_id=1, request_id=1, name=None, epoch=0):
    fields = {1: topic, 2: producer_id, 3: request_id, 8: epoch}
    if name:
        fields |= {4: name, 9: 1}
    else:
        fields[9] = 0
    return frame(PRODUCER, fields)


def send(sequence_id, body=b"x", producer_id=1, name="raw", messages=1, metadata=None, checksum=None):
    """One message, or a frame that says it is a batch of `messages`."""
    md = {1: name, 2: sequence_id, 3: int(time.time() * 1000)}
    fields = {1: producer_id, 2: sequence_id}
    if messages != 1:
        md[11] = messages
        fields[3] = messages
        body = b"".join(struct.pack(">I", len(s)) + s + body
                        for s in (encode({3: len(body), 8: sequence_id}) for _ in range(messages)))
    return frame(SEND, fields, payload({**md, **(metadata or {})}, body, checksum))


def subscribe(topic, name="sub", consumer_id=1, request_id=1, sub_type=1, earliest=True):
    return frame(SUBSCRIBE, {1: topic, 2: name, 3: sub_type, 4: consumer_id, 5: request_id, 13: int(earliest)})


def flow(permits, consumer_id=1):
    return frame(FLOW, {1: consumer_id, 2: permits})


class Closed(Exception):
    """The broker closed the connection."""


class Connection:
    def __init__(self, broker, handshake=True, seconds=10):
        self.socket = socket.create_connection((broker.host.strip("[]"), broker.port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if handshake:
            self.write(connect())
            self.expect(CONNECTED)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def write(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed from e

    def _fill(self, size, deadline):
        while len(self.buffer) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError as e:
                raise Closed from e
            if not data:
                raise Closed
            self.buffer += data

    def read(self, seconds=10):
        """The next command: (number, fields, rest of the frame). Answers PINGs. TimeoutError, Closed."""
        deadline = time.monotonic() + seconds
        while True:
            self._fill(4, deadline)
            total = struct.unpack(">I", self.buffer[:4])[0]
            self._fill(4 + total, deadline)
            data, self.buffer = self.buffer[4:4 + total], self.buffer[4 + total:]
            size = struct.unpack(">I", data[:4])[0]
            outer = decode(data[4:4 + size])
            number = outer[1][0]
            if number == PING:
                self.write(frame(PONG, {}))
                continue
            body = outer.get(number, [b""])[0]
            return number, decode(body), data[4 + size:]

    def expect(self, number, seconds=10):
        """The fields of the next command, which must be `number`."""
        got, fields, _ = self.read(seconds)
        assert got == number, f"command {got} instead of {number}: {fields}"
        return fields

    def create_producer(self, topic, producer_id=1, name=None):
        self.write(producer(topic, producer_id, request_id=1000 + producer_id, name=name))
        return self.expect(PRODUCER_SUCCESS)

    def is_open(self):
        """Asks the broker."""
        try:
            self.write(frame(PING, {}))
            while self.read(5)[0] != PONG:
                pass
            return True
        except (Closed, TimeoutError, OSError):
            return False
