"""How the process starts and ends: the ready line, exit codes, what is said of bad settings, signals."""
import re
import signal
import socket
import time

import harness
import pytest
import raw


def test_version_and_help():
    assert re.fullmatch(r"tidegate \d+\.\d+\.\d+\n", harness.run("--version").stdout)
    for words in (["--help"], ["standalone", "--help"], ["topics", "--help"], ["topics", "stats", "--help"]):
        r = harness.run(*words)
        assert r.returncode == 0 and r.stdout.startswith("tidegate") and not r.stderr
    assert "maxMessageSize=5242880" in harness.run("standalone", "--help").stdout


def test_ready_line_is_all_of_stdout_and_both_ports_answer(broker):
    assert broker.host == "127.0.0.1"
    with raw.Connection(broker):
        pass
    assert broker.rest("GET", "/brokers/health").status == 200
    assert broker.stop() == 0
    assert not broker.process.stdout.read()


def test_log_says_where_it_listens_and_that_it_is_loopback_only(broker):
    log = broker.log()
    for part in (broker.url, broker.web, "loopback only", str(broker.data_dir), "durability sync"):
        assert part in log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_within_seconds(broker, topic, number):
    with raw.Connection(broker) as c:
        c.create_producer(topic)
        c.write(raw.send(0))
        c.expect(raw.SEND_RECEIPT)
        start = time.monotonic()
        assert broker.stop(number) == 0
        assert time.monotonic() - start < 5 * harness.SLOWNESS


def begin_much(broker, round_):
    """Requests of all kinds, none of whose answers is waited for; returns what must stay open."""
    topic = "persistent://public/default/busy"
    connections = [raw.Connection(broker) for _ in range(4)]
    for n, c in enumerate(connections):
        c.create_producer(f"{topic}-{n}")
        c.write(raw.subscribe(f"{topic}-{n}", f"sub-{round_}", sub_type=n % 2) + raw.flow(10))
        c.expect(raw.SUCCESS)
    for n, c in enumerate(connections):
        sends = b"".join(raw.send(round_ * 100 + i) for i in range(50))
        news = b"".join(raw.producer(f"{topic}-{round_}-{n}-{i}", 10 + i, 10 + i)
                        + raw.subscribe(f"{topic}-{round_}-{n}-{i}", "new", 10 + i, 50 + i) for i in range(10))
        seek = raw.frame(raw.SEEK, {1: 1, 2: 99, 4: 1})
        c.write(sends + seek + news)
    rest = []
    for n in range(10):
        s = socket.create_connection((broker.host, broker.web_port))
        path = f"/admin/v2/persistent/public/default/rest-{round_}-{n}" + ("/partitions" if n % 2 else "")
        s.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n3".encode())
        rest.append(s)
    many = "/admin/v2/persistent/public/default/many"
    asked = [f"GET {many}/partitioned-stats", f"GET {many}/subscriptions", f"PUT {many}/subscription/s{round_}",
             f"GET {many}-partition-7/stats", "GET /metrics", "GET /admin/v2/broker-stats/topics",
             f"PUT {many}-{round_}/partitions", "POST /admin/v2/namespaces/public/default/publishRate",
             f"DELETE {many}-{round_ - 1}/partitions",
             f"POST /admin/v2/brokers/configuration/maxPublishRatePerTopicInBytes/{10 ** 9 + round_}"]
    for n, line in enumerate(3 * asked):
        s = socket.create_connection((broker.host, broker.web_port))
        body = b'{"publishThrottlingRateInMsg":1000000}' if "Rate" in line else b"300" if line.startswith("PUT") else b""
        s.sendall(f"{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        rest.append(s)
    return connections + rest


@pytest.mark.parametrize("sync_ms", [0, 50])
def test_a_stop_amidst_requests_of_all_kinds_is_in_order(make_broker, sync_ms):
    """The moment of the signal is another in each round. With slow syncs metadata are under way when the loop ends."""
    b = make_broker(env={"FAULT_DIR": "/data", "FAULT_SYNC_DELAY_MS": str(sync_ms)}, preload=harness.FAULT_SHIM)
    b.ok("PUT", "/persistent/public/default/many/partitions", 1000)
    for round_ in range(6):
        held = begin_much(b, round_)
        time.sleep(0.004 * round_)
        b.restart()
        for h in held:
            h.close()
    assert b.rest("GET", "/brokers/health").status == 200


def test_what_was_made_is_there_after_a_restart(broker):
    broker.ok("PUT", "/tenants/acme", {"adminRoles": [], "allowedClusters": ["standalone"]})
    broker.ok("PUT", "/namespaces/acme/east")
    broker.ok("PUT", "/persistent/acme/east/orders")
    broker.ok("PUT", "/persistent/acme/east/parts/partitions", 3)
    broker.set_rate("persistent://acme/east/orders", messages=77)
    broker.restart()
    assert "acme/east" in broker.ok("GET", "/namespaces/acme")
    assert "persistent://acme/east/orders" in broker.ok("GET", "/persistent/acme/east")
    assert broker.ok("GET", "/persistent/acme/east/parts/partitions")["partitions"] == 3
    assert broker.ok("GET", "/persistent/acme/east/orders/publishRate")["publishThrottlingRateInMsg"] == 77


@pytest.mark.parametrize("options, said", [
    (["--broker-port", "70000"], "from 0 to 65535"),
    (["--web-port", "x"], "from 0 to 65535"),
    (["--workers", "0"], "from 1 to 64"),
    (["--memory", "10"], "from 32M"),
    (["--durability", "never"], "sync or os"),
    (["--bind", "not-an-address"], "localhost"),
    (["--log-level", "loud"], "debug, info, warn or error"),
    (["--broker-port", "6650", "--web-port", "6650"], "two different ports"),
    (["--no-such-option"], "--data-dir"),
    (["word"], "options only"),
    (["--config", "/nonexistent/broker.conf"], "/nonexistent/broker.conf"),
])
def test_bad_options_stop_the_start_and_say_what_is_allowed(tmp_path, options, said):
    r = harness.run("standalone", "--data-dir", tmp_path / "d", *options)
    assert r.returncode == 2 and not r.stdout
    assert said in r.stderr
    assert not (tmp_path / "d").exists()


def test_bad_value_in_a_file_names_file_line_key_and_value(tmp_path):
    conf = tmp_path / "broker.conf"
    conf.write_text("# comment\nclusterName=east\nmaxMessageSize=many\n")
    r = harness.run("standalone", "--data-dir", tmp_path / "d", "--config", conf)
    assert r.returncode == 2
    assert f"{conf}:3: maxMessageSize=many" in r.stderr and "from 1024" in r.stderr


def test_unknown_key_in_a_file_is_a_warning(make_broker):
    b = make_broker(config={"zookeeperServers": "a:2181", "clusterName": "east"})
    assert "zookeeperServers" in b.log()
    assert b.ok("GET", "/clusters") == ["east"]


def test_an_option_wins_over_the_file(make_broker):
    b = make_broker("--durability", "os", config={"tidegateDurability": "sync"})
    assert "durability os" in b.log()


def test_two_processes_on_one_directory(broker):
    r = harness.run("standalone", "--data-dir", broker.data_dir, "--broker-port", 0, "--web-port", 0)
    assert r.returncode == 1 and not r.stdout
    assert str(broker.data_dir) in r.stderr
    assert broker.rest("GET", "/brokers/health").status == 200


@pytest.mark.parametrize("option", ["--broker-port", "--web-port"])
def test_a_port_in_use(tmp_path, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "--web-port" if option == "--broker-port" else "--broker-port"
        r = harness.run("standalone", "--data-dir", tmp_path / "d", option, port, other, 0)
    assert r.returncode == 1 and not r.stdout
    assert str(port) in r.stderr


def test_a_directory_that_cannot_be_made():
    r = harness.run("standalone", "--data-dir", "/proc/tidegate", "--broker-port", 0, "--web-port", 0)
    assert r.returncode in (1, 5) and not r.stdout
    assert "/proc/tidegate" in r.stderr


def test_a_directory_that_is_none_says_so(tmp_path):
    (tmp_path / "d").write_text("")
    r = harness.run("standalone", "--data-dir", tmp_path / "d", "--broker-port", 0, "--web-port", 0)
    assert r.returncode in (1, 5) and not r.stdout
    assert f"{tmp_path / 'd'}: Not a directory" in r.stderr


def test_binding_elsewhere_is_said_in_one_warning(make_broker):
    b = make_broker("--bind", "0.0.0.0")
    lines = [line for line in b.log().splitlines() if "without authentication" in line]
    assert len(lines) == 1 and "warn" in lines[0]


def test_a_signal_repeated_at_once_is_one_wish(broker):
    """As timeout(1) sends it: to the process, then to its group."""
    broker.process.send_signal(signal.SIGTERM)
    time.sleep(0.001)
    assert broker.stop() == 0
    assert "ends at once" not in broker.log()


def test_limit_of_open_files_is_raised(broker):
    line = next(x for x in open(f"/proc/{broker.process.pid}/limits") if x.startswith("Max open files"))
    soft, hard = line.split()[3:5]
    assert soft == hard


def test_start_after_a_crash_before_anything_was_written(make_broker):
    b = make_broker()
    for _ in range(3):
        b.restart(crash=True)
    assert b.rest("GET", "/brokers/health").status == 200
