"""The admin commands against a broker: what they do, print and end with."""
import json
import re
import socket

import harness
import pytest
import raw


@pytest.fixture
def cli(shared):
    return shared.cli


def lines(r):
    return r.stdout.splitlines()


def test_clusters_and_brokers(shared, cli):
    assert lines(cli("clusters", "list")) == ["standalone"]
    assert "brokerServiceUrl" in json.loads(cli("clusters", "get", "standalone").stdout)
    assert lines(cli("brokers", "list", "standalone")) == [f"127.0.0.1:{shared.web_port}"]
    assert cli("brokers", "healthcheck").stdout.strip() == "ok"
    assert cli("brokers", "ready").stdout.strip() == "ok"
    assert json.loads(cli("brokers", "get-runtime-config").stdout)["maxMessageSize"] == "5242880"


def test_tenants_and_namespaces(cli):
    cli("tenants", "create", "acme", "-r", "a,b")
    assert "acme" in lines(cli("tenants", "list"))
    assert json.loads(cli("tenants", "get", "acme").stdout) == {"adminRoles": ["a", "b"],
                                                                "allowedClusters": ["standalone"]}
    cli("tenants", "update", "acme", "--admin-roles", "c", "--allowed-clusters", "standalone")
    assert json.loads(cli("tenants", "get", "acme").stdout)["adminRoles"] == ["c"]
    cli("namespaces", "create", "acme/east")
    assert lines(cli("namespaces", "list", "acme")) == ["acme/east"]
    assert "bundles" in json.loads(cli("namespaces", "policies", "acme/east").stdout)
    r = cli("tenants", "delete", "acme", check=False)
    assert r.returncode == 4 and "namespaces" in r.stderr
    cli("namespaces", "delete", "acme/east")
    cli("tenants", "delete", "acme")
    assert "acme" not in lines(cli("tenants", "list"))


def test_topics(cli, topic):
    cli("topics", "create", topic, "-m", "owner=me")
    assert topic in lines(cli("topics", "list", "public/default"))
    assert topic in lines(cli("namespaces", "topics", "public/default"))
    assert json.loads(cli("topics", "stats", topic).stdout)["msgInCounter"] == 0
    cli("topics", "create-subscription", topic, "-s", "s1")
    cli("topics", "create-subscription", topic, "-s", "s2", "-m", "earliest")
    assert sorted(lines(cli("topics", "subscriptions", topic))) == ["s1", "s2"]
    cli("topics", "unsubscribe", topic, "-s", "s1")
    assert lines(cli("topics", "subscriptions", topic)) == ["s2"]
    cli("topics", "unload", topic)
    cli("topics", "delete", topic)
    r = cli("topics", "stats", topic, check=False)
    assert r.returncode == 4 and not r.stdout and "404" in r.stderr


def test_partitioned_topics(cli, topic):
    cli("topics", "create-partitioned-topic", topic, "-p", "2")
    cli("topics", "update-partitioned-topic", topic, "-p", "4")
    assert json.loads(cli("topics", "get-partitioned-topic-metadata", topic).stdout)["partitions"] == 4
    assert topic in lines(cli("topics", "list-partitioned-topics", "public/default"))
    stats = json.loads(cli("topics", "partitioned-stats", topic, "--per-partition").stdout)
    assert len(stats["partitions"]) == 4
    r = cli("topics", "update-partitioned-topic", topic, "-p", "3", check=False)
    assert r.returncode == 4
    cli("topics", "delete-partitioned-topic", topic)
    assert topic not in lines(cli("topics", "list-partitioned-topics", "public/default"))


@pytest.fixture
def filled(shared, topic):
    """Ten messages and a subscription at the first."""
    shared.cli("topics", "create", topic)
    shared.cli("topics", "create-subscription", topic, "-s", "s", "-m", "earliest")
    with raw.Connection(shared) as c:
        c.create_producer(topic)
        for i in range(10):
            c.write(raw.send(i))
            c.expect(raw.SEND_RECEIPT)
    return topic


def backlog(cli, topic):
    return json.loads(cli("topics", "stats", topic, "-gpb").stdout)["subscriptions"]["s"]["msgBacklog"]


def test_skipping_and_resetting(cli, filled):
    assert backlog(cli, filled) == 10
    cli("topics", "skip", filled, "-s", "s", "-n", "3")
    assert backlog(cli, filled) == 7
    cli("topics", "clear-backlog", filled, "-s", "s")
    assert backlog(cli, filled) == 0
    cli("topics", "reset-cursor", filled, "-s", "s", "-t", "1h")
    assert backlog(cli, filled) == 10
    last = json.loads(cli("topics", "last-message-id", filled).stdout)
    assert last["entryId"] == 9
    cli("topics", "reset-cursor", filled, "-s", "s", "-m", f"{last['ledgerId']}:4")
    assert backlog(cli, filled) in (5, 6)
    cli("topics", "skip-all", filled, "-s", "s")
    assert backlog(cli, filled) == 0


@pytest.mark.parametrize("group, name", [("topics", "topic"), ("topicPolicies", "topic"), ("namespaces", "ns")])
def test_publish_rates(cli, topic, group, name):
    target = topic if name == "topic" else "public/default"
    if name == "topic":
        cli("topics", "create", topic, check=False)
    assert json.loads(cli(group, "get-publish-rate", target).stdout) is None
    cli(group, "set-publish-rate", target, "-m", "500", "-b", "1000000", "--burst-msgs", "50")
    got = json.loads(cli(group, "get-publish-rate", target).stdout)
    assert got["publishThrottlingRateInMsg"] == 500 and got["publishThrottlingRateInByte"] == 1000000
    assert got["publishThrottlingBurstInMsg"] == 50
    cli(group, "remove-publish-rate", target)
    assert json.loads(cli(group, "get-publish-rate", target).stdout) is None


def test_publish_quota(cli):
    ns = "public/default"
    assert json.loads(cli("namespaces", "get-publish-quota", ns).stdout) is None
    cli("namespaces", "set-publish-quota", ns, "-m", "500000", "--byte-publish-rate", "1000000000", "--burst-msgs",
        "90000", "--peak-msgs", "700000")
    got = json.loads(cli("namespaces", "get-publish-quota", ns).stdout)
    assert got == {"publishThrottlingRateInMsg": 500000, "publishThrottlingRateInByte": 1000000000,
                   "publishThrottlingBurstInMsg": 90000, "publishThrottlingPeakInMsg": 700000}
    assert json.loads(cli("namespaces", "get-publish-rate", ns).stdout) is None
    cli("namespaces", "remove-publish-quota", ns)
    assert json.loads(cli("namespaces", "get-publish-quota", ns).stdout) is None
    r = cli("namespaces", "set-publish-quota", "public/nothing", "-m", "5", check=False)
    assert r.returncode == 4 and "Namespace does not exist" in r.stderr


def test_dynamic_settings(cli):
    name = "brokerPublisherThrottlingMaxByteRate"
    assert name in lines(cli("brokers", "list-dynamic-config"))
    assert json.loads(cli("brokers", "get-all-dynamic-config").stdout) == {}
    cli("brokers", "update-dynamic-config", "--config", name, "--value", "1000000000000")
    assert json.loads(cli("brokers", "get-all-dynamic-config").stdout) == {name: "1000000000000"}
    assert json.loads(cli("brokers", "get-runtime-config").stdout)[name] == "1000000000000"
    r = cli("brokers", "update-dynamic-config", "-c", name, "-v", "a/b", check=False)
    assert r.returncode == 4 and "a/b is not allowed; allowed: a whole number from -1" in r.stderr
    r = cli("brokers", "update-dynamic-config", "-c", "clusterName", "-v", "x", check=False)
    assert r.returncode == 4 and "Can't update non-dynamic configuration" in r.stderr
    r = cli("brokers", "update-dynamic-config", "-c", name, check=False)
    assert r.returncode == 2 and "--value VALUE is needed" in r.stderr
    cli("brokers", "delete-dynamic-config", "--config", name)
    assert json.loads(cli("brokers", "get-all-dynamic-config").stdout) == {}


@pytest.mark.parametrize("group, command", [("topics", "set-publish-rate"), ("topicPolicies", "set-publish-rate"),
                                            ("namespaces", "set-publish-rate"), ("namespaces", "set-publish-quota")])
def test_publish_rate_without_a_rate_is_refused(cli, group, command):
    r = cli(group, command, "public/default" if group == "namespaces" else "any", "--burst-msgs", "5",
            check=False)
    assert r.returncode == 2 and "--msg-publish-rate" in r.stderr and "--byte-publish-rate" in r.stderr


def test_explain_names_the_binding_scope_and_the_command_that_raises_it(shared, cli, topic):
    cli("topics", "create", topic)
    assert "no limit binds" in cli("explain", topic).stdout
    cli("topics", "set-publish-rate", topic, "-m", "5")
    with raw.Connection(shared) as c:
        c.create_producer(topic)
        for i in range(30):
            c.write(raw.send(i))
        text = harness.wait_for(lambda: (t := cli("explain", topic).stdout) if "binds" in cli("explain", topic).stdout
                                else None, what="a binding limit")
        assert re.search(rf"topic {re.escape(topic)} binds", text)
        command = re.search(r"to raise it: tidegate (.*)", text)[1].split()
        raw_answer = json.loads(cli("explain", topic, "--output", "json").stdout)
        assert raw_answer["scopes"]
        cli(*command)
    got = json.loads(cli("topics", "get-publish-rate", topic).stdout)
    assert got["publishThrottlingRateInMsg"] > 5


def test_store_dump_lists_what_is_stored(shared, cli, filled):
    last = json.loads(cli("topics", "last-message-id", filled).stdout)
    rows = shared.stored(last["ledgerId"])
    assert [r["entry"] for r in rows] == list(range(10))
    assert all(r["messages"] == 1 for r in rows)
    times = [r["admitted_ns"] for r in rows]
    assert times == sorted(times)


def test_short_names_odd_names_and_json(cli):
    cli("topics", "create", "short")
    cli("topics", "create", "odd %&?# name")
    listed = json.loads(cli("topics", "list", "public/default", "--output", "json").stdout)
    assert "persistent://public/default/short" in listed
    assert "persistent://public/default/odd %&?# name" in listed
    cli("topics", "delete", "odd %&?# name")


def test_exit_codes(shared, cli):
    assert cli("topics", "stats", "nothing-here", check=False).returncode == 4
    assert cli("topics", "stats", check=False).returncode == 2
    assert cli("topics", "stats", "a/b", check=False).returncode == 2
    assert cli("nonsense", check=False).returncode == 2
    with socket.create_server(("127.0.0.1", 0)) as s:
        free = s.getsockname()[1]
    r = cli("--admin-url", f"http://127.0.0.1:{free}", "tenants", "list", check=False)
    assert r.returncode == 3 and str(free) in r.stderr
    assert cli("tenants", "list", "--admin-url", shared.web).returncode == 0
