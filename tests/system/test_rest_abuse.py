"""HTTP requests that are wrong: answered 4xx with a reason, and nothing has changed."""
import http.client
import json
import socket

import pytest

RATE = "/persistent/public/default/abused/publishRate"
NS_RATE, NS_QUOTA = "/namespaces/public/default/publishRate", "/namespaces/public/default/publishQuota"


@pytest.fixture(scope="module")
def abused(shared):
    shared.ok("PUT", "/persistent/public/default/abused")
    shared.ok("POST", RATE, {"publishThrottlingRateInMsg": 123, "publishThrottlingRateInByte": -1})
    shared.ok("POST", NS_QUOTA, {"publishThrottlingRateInMsg": 10 ** 6, "publishThrottlingRateInByte": 10 ** 9})
    return shared


def everything(b):
    return [b.rest("GET", p).text for p in
            ("/tenants", "/namespaces/public", "/namespaces/public/default", "/persistent/public/default",
             "/persistent/public/default/partitioned", RATE, NS_RATE, NS_QUOTA)]


@pytest.fixture
def unchanged(abused):
    before = everything(abused)
    yield abused
    assert everything(abused) == before


def refused(answer):
    assert 400 <= answer.status < 500, answer
    assert answer.json["reason"], answer


@pytest.mark.parametrize("path", [RATE, NS_RATE, NS_QUOTA])
@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"null", b'"x"', b"7", b"{}x", b"\xff\xfe", b"\x00", b'{"publishThrottlingRateInMsg":"5"}',
    b'{"publishThrottlingRateInMsg":1.5}', b'{"publishThrottlingRateInMsg":-2}',
    b'{"publishThrottlingRateInMsg":1e30}', b'{"publishThrottlingRateInMsg":99999999999999999999}',
    b'{"publishThrottlingRateInMsg":[1]}', b'{"publishThrotlingRateInMsg":5}',
    b'{"publishThrottlingRateInMsg":5,"publishThrottlingPeakInMsg":4}',
    b'{"publishThrottlingRateInMsg":5,"publishThrottlingBurstInMsg":-1}',
    b"[" * 10000, b'{"a":' * 10000,
])
def test_bodies_that_are_no_publish_rate(unchanged, body, path):
    refused(unchanged.rest("POST", path, raw=body))


@pytest.mark.parametrize("method, path, body", [
    ("GET", "/tenants/nobody", None),
    ("GET", "/namespaces/nobody", None),
    ("GET", "/namespaces/public/nothing", None),
    ("GET", "/persistent/public/default/nothing/stats", None),
    ("GET", "/persistent/public/nothing", None),
    ("DELETE", "/persistent/public/default/nothing", None),
    ("DELETE", "/namespaces/public/default", None),
    ("GET", "/namespaces/public/nothing/publishQuota", None),
    ("DELETE", "/namespaces/public/nothing/publishQuota", None),
    ("PUT", NS_QUOTA, {"publishThrottlingRateInMsg": 5}),
    ("DELETE", "/tenants/public", None),
    ("PUT", "/tenants/public", {"adminRoles": [], "allowedClusters": ["standalone"]}),
    ("PUT", "/namespaces/public/default", None),
    ("PUT", "/namespaces/nobody/x", None),
    ("PUT", "/namespaces/public/a%20b", None),
    ("PUT", "/persistent/public/default/abused", None),
    ("PUT", "/persistent/public/default/p/partitions", 0),
    ("PUT", "/persistent/public/default/p/partitions", -1),
    ("PUT", "/persistent/public/default/p/partitions", "4"),
    ("PUT", "/persistent/public/default/p/partitions", 10 ** 9),
    ("POST", "/persistent/public/default/abused/partitions", 4),
    ("POST", "/persistent/public/default/nothing/partitions", 4),
    ("POST", "/persistent/public/default/abused/subscription/none/skip/1", None),
    ("POST", "/persistent/public/default/abused/subscription/none/resetcursor/0", None),
    ("DELETE", "/persistent/public/default/abused/subscription/none", None),
    ("GET", "/nonsense", None),
    ("GET", "/persistent/public/default/abused/nonsense", None),
    ("PATCH", "/tenants/public", None),
    ("GET", "/persistent/public/default/a%00b/stats", None),
    ("GET", "/persistent/public/default/%ff%fe/stats", None),
    ("PUT", "/persistent/public/default/a%2Fb", None),
    ("PUT", "/persistent/public/default/" + "x" * 3000, None),
])
def test_requests_that_cannot_be_met(unchanged, method, path, body):
    refused(unchanged.rest(method, path, body))


def test_a_body_larger_than_any_is_refused(unchanged):
    c = http.client.HTTPConnection("127.0.0.1", unchanged.web_port, timeout=20)
    c.putrequest("POST", "/admin/v2" + RATE)
    c.putheader("Content-Type", "application/json")
    c.putheader("Content-Length", str(1 << 30))
    c.endheaders()
    try:
        for _ in range(64):
            c.send(b" " * (1 << 20))
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        assert c.getresponse().status in (400, 413)
    except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected):
        pass  # or it hangs up
    assert unchanged.memory_bytes() < 1 << 30
    c.close()


def test_what_is_no_http(unchanged):
    for junk in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"A" * 100000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", unchanged.web_port), timeout=2) as s:
            try:
                s.sendall(junk)
                s.shutdown(socket.SHUT_WR)
                s.recv(1000)
            except OSError:
                pass  # answered, hung up or waiting for more: all it must do is go on for others
    assert unchanged.rest("GET", "/brokers/health").status == 200


def test_many_requests_on_one_connection(unchanged):
    c = http.client.HTTPConnection("127.0.0.1", unchanged.web_port, timeout=10)
    for _ in range(200):
        c.request("GET", "/admin/v2/tenants")
        r = c.getresponse()
        assert r.status == 200 and "public" in json.loads(r.read())
    c.close()


def test_what_is_quoted_in_part_is_cut_between_characters(unchanged):
    name = "x" + "\u00fc" * 200
    for method, path, body in [("POST", RATE, {name: 1}), ("POST", RATE, {"publishThrottlingRateInMsg": name[1:]}),
                               ("PUT", "/resourcegroups/abused", {name: 1}),
                               ("PUT", "/persistent/public/default/abused/properties", {name: 1})]:
        answer = unchanged.rest(method, path, raw=json.dumps(body, ensure_ascii=False).encode())
        refused(answer)
        assert "\u00fc\u00fc\u00fc" in answer.json["reason"], answer
