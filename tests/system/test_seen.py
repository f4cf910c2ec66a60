"""What can be seen of limits: the tree, one scope, explain of everything, metrics."""
import contextlib
import json

import harness
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
    done = harness.wait_for(lambda: (g := house.ok("GET", "/limits/namespaces/big/a"))["waitingProducers"] == 0 and g)
    assert done["parkedMessages"] == 0
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
