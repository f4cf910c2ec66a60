"""What can be seen of limits: the tree, one scope, explain of everything, metrics."""
import contextlib
import json
import os
import shutil
import subprocess

import harness
import promlint
import pytest
import raw


@contextlib.contextmanager
def flood(broker, topics, count=200):
    """One producer on each topic, on a connection of its own, that sends more than it may."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(raw.Connection(broker)) for _ in topics]
        for c, t in zip(connections, topics):
            c.create_producer(t, name="of-" + t.rsplit("/", 1)[1])
        for c in connections:
            c.write(b"".join(raw.send(k, b"x" * 100) for k in range(count)))
        yield connections


def quota(broker, path, messages):
    broker.ok("POST", f"/{path}/publishQuota",
              {"publishThrottlingRateInMsg": messages, "publishThrottlingRateInByte": -1})


@pytest.fixture
def house(make_broker):
    """A tenant with two namespaces, quotas on all, that add up to more than there is."""
    b = make_broker()
    b.ok("PUT", "/tenants/big", {"adminRoles": [], "allowedClusters": ["standalone"]})
    for n in ("a", "b"):
        b.ok("PUT", f"/namespaces/big/{n}")
        quota(b, f"namespaces/big/{n}", 60)
    quota(b, "tenants/big", 80)
    return b


def nodes(tree):
    for n in tree:
        yield n
        yield from nodes(n.get("below", []))


def node(tree, kind, name):
    found = [n for n in nodes(tree) if (n["kind"], n["name"]) == (kind, name)]
    assert len(found) == 1, (kind, name, found)
    return found[0]


# ---- limits ----

def test_the_tree_has_every_level_and_what_children_add_up_to(house):
    house.ok("PUT", "/persistent/big/a/x")
    house.set_rate("persistent://big/a/x", messages=90)
    tree = house.ok("GET", "/limits")
    assert [n["kind"] for n in tree] == ["broker"]
    tenant = node(tree, "tenant", "big")
    assert (tenant["rateInMsg"], tenant["limited"], tenant["rateInByte"]) == (80, True, None)
    assert tenant in tree[0]["below"]
    assert {n["name"] for n in tenant["below"]} == {"big/a", "big/b"}
    assert tenant["children"]["rateInMsg"] == 120 and tenant["children"]["overcommitInMsg"] == 1.5
    assert tenant["children"]["overcommitInByte"] is None
    assert tree[0]["children"]["limitedInMsg"] == 1 and tree[0]["children"]["count"] == 3
    a = node(tree, "namespace", "big/a")
    assert a["children"]["overcommitInMsg"] == 1.5
    assert [(n["kind"], n["name"], n["source"]) for n in a["below"]] == [("topic", "persistent://big/a/x", "topic policy")]
    text = house.cli("limits", "tree").stdout
    assert "  tenant big  0 of 80 msg/s  over-committed 1.5 times in msg/s\n" in text
    assert "      topic persistent://big/a/x  0 of 90 msg/s\n" in text


def test_a_quota_counts_who_waits_how_long_and_what_was_delayed(house):
    topics = [f"persistent://big/a/t{i}" for i in range(4)]
    with flood(house, topics) as connections:
        for c in connections:
            for _ in range(25):
                c.expect(raw.SEND_RECEIPT)
        got = house.ok("GET", "/limits/namespaces/big/a")
        assert got["waitingProducers"] == 4 and got["waitingTopics"] <= 4
        assert got["throttlings"] >= 4 and got["steps"]["park"] >= 4
        assert got["throttledWallSeconds"] > 0.5
        assert 3.5 < got["throttledSeconds"] / got["throttledWallSeconds"] < 4.1
        assert 60 < got["delayedMessages"] < 400 and got["delayedBytes"] > 100 * got["delayedMessages"]
        assert got["parkedMessages"] > 0 and got["parkedBytes"] > 100 * got["parkedMessages"]
        assert 40 < got["msgRateIn"] < 80
        tree = house.ok("GET", "/limits")
        assert node(tree, "namespace", "big/a")["waitingProducers"] == 4
        assert node(tree, "namespace", "big/b")["throttlings"] == 0
    done = harness.wait_for(lambda: (g := house.ok("GET", "/limits/namespaces/big/a"))["waitingProducers"] == 0 and
                            g["parkedMessages"] == 0 and g)  # of two moments: one may be ahead of the other
    again = house.ok("GET", "/limits/namespaces/big/a")
    assert again["throttledSeconds"] == done["throttledSeconds"] and again["throttledWallSeconds"] == done["throttledWallSeconds"]


@pytest.mark.parametrize("path, kind", [("broker", "broker"), ("tenants/big", "tenant"),
                                        ("namespaces/big/b", "namespace"), ("topics/persistent/big/a/x", "topic"),
                                        ("topics/persistent/big/a/p", "partitioned topic"),
                                        ("topics/persistent/big/a/p-partition-1", "topic"),
                                        ("resourcegroups/g", "resource group")])
def test_one_scope_of_each_kind(house, path, kind):
    house.ok("PUT", "/persistent/big/a/x")
    house.ok("PUT", "/persistent/big/a/p/partitions", 2)
    house.ok("PUT", "/resourcegroups/g", {"publishRateInMsgs": 7})
    got = house.ok("GET", "/limits/" + path)
    assert got["kind"] == kind and got["waitingProducers"] == 0 and got["throttledSeconds"] == 0
    if kind == "resource group":
        assert got["rateInMsg"] == 7
    word = {"broker": [], "tenant": ["big"], "namespace": ["big/b"], "resource group": ["g"]}.get(
        kind, ["big/a/" + path.split("/")[-1]])
    scope = {"partitioned topic": "topic", "resource group": "resourcegroup"}.get(kind, kind)
    shown = json.loads(house.cli("limits", "get", scope, *word).stdout)
    assert shown["name"] == got["name"] and shown["kind"] == kind


def test_scopes_that_are_not_there(house):
    for path in ("tenants/none", "namespaces/big/none", "topics/persistent/big/a/none", "resourcegroups/none"):
        assert house.rest("GET", "/limits/" + path).status == 404
    assert house.cli("limits", "get", "tenant", "none", check=False).returncode == 4
    assert house.cli("limits", "get", "tenant", check=False).returncode == 2
    assert house.cli("limits", "get", "planet", check=False).returncode == 2


def test_a_tree_of_many_topics_shows_those_that_matter(make_broker):
    b = make_broker()
    for i in range(50):
        b.ok("PUT", f"/persistent/public/default/t{i}")
    b.set_rate("persistent://public/default/t7", messages=5)
    ns = node(b.ok("GET", "/limits"), "namespace", "public/default")
    assert [n["name"] for n in ns["below"]] == ["persistent://public/default/t7"]
    assert ns["topicsNotShown"] == 49


# ---- explain ----

def test_explain_of_a_namespace_a_tenant_and_a_client(house):
    topics = [f"persistent://big/a/t{i}" for i in range(3)]
    house.ok("PUT", "/persistent/big/b/own")
    house.set_rate("persistent://big/b/own", messages=5)
    with flood(house, topics) as connections, flood(house, ["persistent://big/b/own"]) as (own,):
        own.expect(raw.SEND_RECEIPT)
        got = harness.wait_for(lambda: (g := house.ok("GET", "/namespaces/big/a/explain"))["throttledProducers"] == 3 and g)
        assert (got["kind"], got["name"], got["throttled"]) == ("namespace", "big/a", True)
        r, = got["reasons"]
        assert (r["reason"], r["scope"], r["producers"]) == ("namespace", "big/a", 3)
        assert r["command"] == "tidegate namespaces set-publish-quota big/a --msg-publish-rate 120"
        assert r["since"] < r["until"] and r["untilMs"] > 1000
        assert [s["kind"] for s in got["scopes"] if s["binding"]] == ["namespace"]
        assert {s["kind"] for s in got["scopes"]} == {"broker", "tenant", "namespace"}
        assert {w["topic"] for w in got["waiting"]} == set(topics)

        tenant = house.ok("GET", "/tenants/big/explain")
        assert tenant["throttledProducers"] == 4
        assert {(r["reason"], r["producers"]) for r in tenant["reasons"]} == {("namespace", 3), ("topic", 1)}
        topic = next(r for r in tenant["reasons"] if r["reason"] == "topic")
        assert topic["command"].startswith("tidegate topics set-publish-rate persistent://big/b/own ")

        address = "127.0.0.1:%d" % own.socket.getsockname()[1]
        client = house.ok("GET", f"/clients/{address}/explain")
        assert [(r["reason"], r["scope"]) for r in client["reasons"]] == [("topic", "persistent://big/b/own")]
        row = next(c for c in house.ok("GET", "/clients") if c["address"] == address)
        assert house.ok("GET", f"/clients/{row['id']}/explain")["throttledProducers"] == 1
        assert house.ok("GET", "/clients/127.0.0.1/explain")["throttledProducers"] == 4

        for words, expected in ((["big/a"], "namespace big/a"), (["big"], "tenant big"), ([address], "client " + address),
                                (["big", "--as", "tenant"], "tenant big"), ([topics[0]], topics[0])):
            text = house.cli("explain", *words).stdout
            assert text.startswith(expected + "\n") and "producer of-" in text
        assert "what would help: tidegate namespaces set-publish-quota big/a" in house.cli("explain", "big/a").stdout
        assert json.loads(house.cli("explain", "big", "--output", "json").stdout)["name"] == "big"


def test_explain_of_a_block_says_how_to_lift_it(house):
    b = house.ok("POST", "/blocks", {"kind": "namespace", "name": "big/a"})
    with flood(house, ["persistent://big/a/x"], 1):
        got = harness.wait_for(lambda: (g := house.ok("GET", "/namespaces/big/a/explain"))["throttled"] and g)
        r, = got["reasons"]
        assert (r["reason"], r["block"], r["until"]) == ("blocked", b["id"], None)
        assert r["command"] == f"tidegate block remove {b['id']}"
        assert f"tidegate block remove {b['id']} lets it go on" in house.cli("explain", "big/a/x").stdout


def test_explain_of_what_is_not_there(house):
    for path in ("namespaces/big/none", "tenants/none", "clients/9999", "clients/1.2.3.4"):
        assert house.rest("GET", f"/{path}/explain").status == 404
    assert house.cli("explain", "big", "--as", "planet", check=False).returncode == 2
    assert house.ok("GET", "/namespaces/big/b/explain")["reasons"] == []
    assert "nobody waits" in house.cli("explain", "big/b").stdout


# ---- metrics ----

def metrics(broker):
    return promlint.parse(broker.rest("GET", "/metrics", base="").text)


def sample(families, family, /, **labels):
    """The one sample that has these labels."""
    found = [v for key, v in families[family].samples.items() if labels.items() <= dict(key).items()]
    assert len(found) == 1, (family, labels, found)
    return found[0]


def test_metrics_are_as_prometheus_wants_them(house):
    odd = "persistent://big/a/" + 'q"\\ü'
    house.ok("POST", "/namespaces/big/b/publishRate", {"publishThrottlingRateInMsg": 5, "publishThrottlingRateInByte": -1})
    with flood(house, [odd, "persistent://big/b/x"]) as connections:
        for c in connections:
            c.expect(raw.SEND_RECEIPT)
        text = house.rest("GET", "/metrics", base="").text
    families = promlint.parse(text)
    assert promlint.problems(families) == []
    assert sample(families, "pulsar_in_messages_total", topic=odd) > 0
    promtool = shutil.which("promtool", path=f"{os.environ['PATH']}:{harness.PROMTOOL_DIR}")
    if promtool:
        r = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True)
        assert (r.returncode, r.stderr) == (0, "")


def test_metrics_say_who_waits_for_what(house):
    topics = [f"persistent://big/a/t{i}" for i in range(3)]
    house.ok("PUT", "/persistent/big/b/own")
    house.set_rate("persistent://big/b/own", messages=5)
    with flood(house, topics + ["persistent://big/b/own"]) as connections:
        for c in connections:
            c.expect(raw.SEND_RECEIPT)

        def all_wait():
            m = metrics(house)
            return sample(m, "tidegate_limit_waiting_producers", scope="namespace", name="big/a") == 3 and m
        m = harness.wait_for(all_wait, what="three who wait")
        assert sample(m, "tidegate_limit_rate_messages", scope="tenant", name="big") == 80
        assert sample(m, "tidegate_limit_balance_messages", scope="namespace", name="big/a") <= 60
        assert sample(m, "tidegate_limit_waiting_producers", scope="topic", name="persistent://big/b/own") == 1
        assert sample(m, "tidegate_limit_parked_bytes", scope="namespace", name="big/a") > 0
        assert sample(m, "tidegate_limit_throttled_seconds_total", scope="namespace", name="big/a") > 0
        assert sample(m, "pulsar_publish_rate_limit_times", topic=topics[0], limiter="namespace") > 0
        assert sample(m, "pulsar_publish_rate_limit_times", topic=topics[0], limiter="topic") == 0
        assert sample(m, "pulsar_publish_rate_limit_times", topic="persistent://big/b/own", limiter="topic") > 0
        assert sample(m, "tidegate_throttled_seconds_total", topic=topics[0], reason="namespace") > 0
        assert sample(m, "tidegate_parked_bytes", topic="persistent://big/b/own") > 0
        assert sample(m, "pulsar_broker_throttled_connections") >= 1
        assert sample(m, "tidegate_events_total") > 0


@pytest.mark.parametrize("by_topic", ["true", "false"])
def test_series_are_bounded_and_what_is_beyond_is_added_up(make_broker, by_topic):
    b = make_broker(config={"tidegateMetricsRows": 10, "exposeTopicLevelMetricsInPrometheus": by_topic})
    for i in range(25):
        b.ok("PUT", f"/namespaces/public/n{i}")
        b.ok("PUT", f"/persistent/public/n{i}/t")
        b.ok("PUT", f"/persistent/public/n{i}/t/subscription/s")
        quota(b, f"namespaces/public/n{i}", 100)
    before = metrics(b)
    topics = before["pulsar_topics_count"].samples
    assert len(topics) == 11 and sum(topics.values()) == 25
    label = {"topic" if by_topic == "true" else "namespace": "other"}
    folded = 15 if by_topic == "true" else 17  # public/default and pulsar/system are namespaces, too
    assert sample(before, "pulsar_topics_count", **label) == 15 or by_topic == "false"
    assert sample(before, "tidegate_metrics_rows_folded") == folded
    assert sample(before, "pulsar_broker_topics_count") == 25
    assert len(before["tidegate_limit_rate_messages"].samples) <= 10
    assert by_topic == "false" or len(before["pulsar_subscription_back_log"].samples) == 10
    if by_topic == "true":  # who has a row keeps it
        b.ok("PUT", "/persistent/public/default/a-first")
        assert metrics(b)["pulsar_topics_count"].samples.keys() == topics.keys()
    assert promlint.problems(before) == []
