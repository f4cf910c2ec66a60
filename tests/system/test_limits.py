"""The administration of limits of many topics at once: kept, shown, given to every topic."""
import json
import sqlite3

import harness
import pytest
import raw

NS = "/namespaces/acme/east"
RATE = {"publishThrottlingRateInMsg": 1000, "publishThrottlingRateInByte": -1}
QUOTA = {"publishThrottlingRateInMsg": 5000, "publishThrottlingRateInByte": 10 ** 9, "publishThrottlingBurstInMsg": 70,
         "publishThrottlingPeriodInMs": 500}


@pytest.fixture
def east(broker):
    broker.ok("PUT", "/tenants/acme", {"adminRoles": [], "allowedClusters": ["standalone"]})
    broker.ok("PUT", NS)
    return broker


def rate_of(broker, topic):
    """What is in force where the topic lives."""
    scope = broker.ok("GET", f"/{harness.rest_path(topic)}/explain")["scopes"][0]
    return scope["rateInMsg"], scope["source"]


def explain(broker, topic):
    """Its scopes, by kind."""
    if broker.rest("GET", f"/{harness.rest_path(topic)}/explain").status == 404:
        broker.ok("PUT", "/" + harness.rest_path(topic))
    return {s["kind"]: s for s in broker.ok("GET", f"/{harness.rest_path(topic)}/explain")["scopes"]}


@pytest.mark.parametrize("crash", [False, True])
def test_rate_and_quota_of_a_namespace_are_kept_apart_and_survive(east, crash):
    assert east.rest("GET", NS + "/publishQuota").text == ""
    east.ok("POST", NS + "/publishRate", RATE)
    east.ok("POST", NS + "/publishQuota", QUOTA)
    for _ in range(2):
        assert east.ok("GET", NS + "/publishRate") == RATE
        assert east.ok("GET", NS + "/publishQuota") == QUOTA
        policies = east.ok("GET", NS)
        assert policies["publishQuota"] == QUOTA
        assert policies["publishMaxMessageRate"] == {"standalone": RATE}
        east.restart(crash)
    east.ok("DELETE", NS + "/publishRate")
    assert east.ok("GET", NS + "/publishQuota") == QUOTA
    east.ok("DELETE", NS + "/publishQuota")
    assert "publishQuota" not in east.ok("GET", NS)
    east.restart(crash)
    assert east.rest("GET", NS + "/publishQuota").text == east.rest("GET", NS + "/publishRate").text == ""


@pytest.mark.parametrize("crash", [False, True])
def test_a_tenants_quota_survives_changes_of_the_tenant_and_restarts(east, crash):
    info = east.ok("GET", "/tenants/acme")
    assert east.rest("GET", "/tenants/acme/publishQuota").text == ""
    east.ok("POST", "/tenants/acme/publishQuota", QUOTA)
    for _ in range(2):
        assert east.ok("GET", "/tenants/acme/publishQuota") == QUOTA
        assert east.ok("GET", "/tenants/acme") == {**info, "publishQuota": QUOTA}
        scope = explain(east, "persistent://acme/east/t")["tenant"]
        assert (scope["name"], scope["rateInMsg"], scope["source"]) == ("acme", 5000, "tenant policy")
        info = {"adminRoles": ["boss"], "allowedClusters": ["standalone"]}
        east.ok("POST", "/tenants/acme", info)
        east.restart(crash)
    east.ok("DELETE", "/tenants/acme/publishQuota")
    for _ in range(2):
        assert east.rest("GET", "/tenants/acme/publishQuota").text == ""
        assert east.ok("GET", "/tenants/acme") == info
        east.restart(crash)
    for method in ("GET", "POST", "DELETE"):
        answer = east.rest(method, "/tenants/nobody/publishQuota", RATE if method == "POST" else None)
        assert answer.status == 404 and answer.json["reason"] == "Tenant does not exist"


def test_a_namespace_without_policies_has_no_quota(east):
    for path in ("/namespaces/acme/west", "/namespaces/nobody/x"):
        for method in ("GET", "POST", "DELETE"):
            answer = east.rest(method, path + "/publishQuota", RATE if method == "POST" else None)
            assert answer.status == 404 and answer.json["reason"] == "Namespace does not exist"


def test_a_namespaces_rate_reaches_all_of_many_topics(east):
    """More than are given it in a turn; some of them live on other workers, some are made meanwhile."""
    names = [f"persistent://acme/east/t{i}" for i in range(1200)]
    for name in names:
        east.ok("PUT", "/" + harness.rest_path(name))
    connections = [raw.Connection(east) for _ in range(4)]
    for i, c in enumerate(connections):
        c.create_producer(names[i * 300])
    east.ok("POST", NS + "/publishRate", RATE)
    assert {rate_of(east, name) for name in names} == {(1000, "namespace policy")}
    late = "persistent://acme/east/late"
    connections[0].create_producer(late, producer_id=2)
    assert rate_of(east, late) == (1000, "namespace policy")
    east.ok("DELETE", NS + "/publishRate")
    assert {rate_of(east, name) for name in [*names, late]} == {(None, "none")}
    for c in connections:
        c.close()


CONFIG = "/brokers/configuration"
DYNAMIC = ["maxPublishRatePerTopicInMessages", "maxPublishRatePerTopicInBytes",
           "brokerPublisherThrottlingMaxMessageRate", "brokerPublisherThrottlingMaxByteRate",
           "maxPublishRatePerProducerInMessages", "maxPublishRatePerProducerInBytes"]


def set_dynamic(b, name, value):
    answer = b.rest("POST", f"{CONFIG}/{name}/{value}")
    assert (answer.status, answer.text) == (200, ""), answer


def test_dynamic_settings_are_listed_and_start_as_in_the_file(make_broker):
    b = make_broker(config={DYNAMIC[0]: 70, DYNAMIC[3]: -1})
    others = {name for name in b.ok("GET", CONFIG)
              if "ispatchThrottling" in name or "ubscribe" in name or "axPendingPublish" in name}
    assert sorted(set(b.ok("GET", CONFIG)) - others) == sorted(DYNAMIC)
    assert b.ok("GET", CONFIG + "/values") == {}
    runtime = b.ok("GET", CONFIG + "/runtime")
    assert [runtime[name] for name in DYNAMIC] == ["70", "0", "0", "-1", "0", "0"]


@pytest.mark.parametrize("crash", [False, True])
def test_a_dynamic_value_wins_over_the_file_and_survives_until_it_is_deleted(make_broker, crash):
    b = make_broker(config={DYNAMIC[0]: 70})
    for i, name in enumerate(DYNAMIC):
        set_dynamic(b, name, 1000 + i)
    set_dynamic(b, DYNAMIC[2], -1)
    values = dict(zip(DYNAMIC, ["1000", "1001", "-1", "1003", "1004", "1005"]))
    for _ in range(2):
        assert b.ok("GET", CONFIG + "/values") == values
        runtime = b.ok("GET", CONFIG + "/runtime")
        assert {name: runtime[name] for name in DYNAMIC} == values
        assert runtime["maxMessageSize"] == "5242880"
        b.restart(crash)
    for name in [*DYNAMIC, DYNAMIC[0]]:  # once more what is not there any more
        assert b.rest("DELETE", f"{CONFIG}/{name}").status == 200
    for _ in range(2):
        assert b.ok("GET", CONFIG + "/values") == {}
        runtime = b.ok("GET", CONFIG + "/runtime")
        assert [runtime[name] for name in DYNAMIC] == ["70", "0", "0", "0", "0", "0"]
        b.restart(crash)


@pytest.mark.parametrize("name, value, said", [
    (DYNAMIC[0], "abc", "a whole number from -1"), (DYNAMIC[0], "-2", "a whole number from -1"),
    (DYNAMIC[0], "1.5", "a whole number"), (DYNAMIC[0], "%20", "a whole number"), (DYNAMIC[0], "5%2F6", "a whole number"),
    (DYNAMIC[2], "1099511627777", "to 1099511627776"), (DYNAMIC[3], "99999999999999999999", "to 1099511627776"),
    (DYNAMIC[3], "%ff", "UTF-8"), ("maxMessageSize", "77", "non-dynamic"), ("tidegateWorkers", "2", "non-dynamic"),
    ("no-such-setting", "1", "non-dynamic"), ("x" * 2000, "1", "non-dynamic"), ("%ff", "1", "non-dynamic"),
])
def test_a_dynamic_value_that_is_not_allowed_is_refused_and_changes_nothing(shared, name, value, said):
    before = shared.ok("GET", CONFIG + "/runtime"), shared.ok("GET", CONFIG + "/values")
    answer = shared.rest("POST", f"{CONFIG}/{name}/{value}")
    assert answer.status == 412 and said in answer.json["reason"], answer
    if said == "non-dynamic":
        answer = shared.rest("DELETE", f"{CONFIG}/{name}")
        assert answer.status == 412 and answer.json["reason"] == "Can't delete non-dynamic configuration"
    assert (shared.ok("GET", CONFIG + "/runtime"), shared.ok("GET", CONFIG + "/values")) == before


def test_methods_that_dynamic_settings_do_not_have(shared):
    for method, path in (("PUT", f"/{DYNAMIC[0]}/5"), ("GET", f"/{DYNAMIC[0]}"), ("POST", f"/{DYNAMIC[0]}"),
                         ("DELETE", ""), ("POST", "/values")):
        assert shared.rest(method, CONFIG + path).status == 405


def test_the_brokers_default_reaches_all_topics_that_have_no_other(east):
    """Also those that wait: the producer is let go when the limit is taken away."""
    plain, own, ns = ("persistent://public/default/plain", "persistent://public/default/own", "persistent://acme/east/ns")
    many = [f"persistent://public/default/m{i}" for i in range(1100)]
    for name in [plain, own, ns, *many]:
        east.ok("PUT", "/" + harness.rest_path(name))
    east.set_rate(own, messages=7)
    east.ok("POST", NS + "/publishRate", RATE)
    with raw.Connection(east) as c:
        c.create_producer(plain)
        set_dynamic(east, DYNAMIC[0], 1)
        assert rate_of(east, plain) == (1, "broker default")
        assert east.ok("GET", f"/{harness.rest_path(plain)}/publishRate?applied=true")["publishThrottlingRateInMsg"] == 1
        assert rate_of(east, own) == (7, "topic policy")
        assert rate_of(east, ns) == (1000, "namespace policy")
        assert {rate_of(east, name) for name in many} == {(1, "broker default")}
        for i in range(20):
            c.write(raw.send(i))
        harness.wait_for(lambda: east.stats(plain)["throttled"], what="a throttled producer")
        assert east.rest("DELETE", f"{CONFIG}/{DYNAMIC[0]}").status == 200
        for _ in range(20):
            c.expect(raw.SEND_RECEIPT)
    assert {rate_of(east, name) for name in [plain, *many]} == {(None, "none")}


def test_a_stored_dynamic_value_that_is_not_allowed_stops_the_start(broker):
    set_dynamic(broker, DYNAMIC[0], 5)
    assert broker.stop() == 0
    with sqlite3.connect(broker.data_dir / "meta.db") as db:
        db.execute("update kv set value = ? where key = ?", ('{"value":"many"}', f"dynamic/{DYNAMIC[0]}"))
        db.execute("insert into kv values (?, ?, 1)", ("dynamic/ofAnotherVersion", '{"value":"x"}'))
    db.close()
    broker.spawn()
    assert broker.process.wait(harness.START_S) != 0
    assert f"dynamic/{DYNAMIC[0]}" in broker.log_tail() and "many" in broker.log_tail()
    with sqlite3.connect(broker.data_dir / "meta.db") as db:
        db.execute("delete from kv where key = ?", (f"dynamic/{DYNAMIC[0]}",))
    db.close()
    broker.start()
    assert broker.ok("GET", CONFIG + "/values") == {}
    assert "ofAnotherVersion" in broker.log_tail()


@pytest.mark.parametrize("key, field", [("tenant/public", "publishQuota"),
                                        ("partitioned/public/default/parts", "publishQuota"),
                                        ("namespace/public/default", "publishRate"),
                                        ("namespace/public/default", "publishQuota"),
                                        ("partitioned/public/default/parts", "publishRate"),
                                        ("topic/public/default/t", "publishRate"),
                                        ("namespace/public/default", "producerPublishRate"),
                                        ("partitioned/public/default/parts", "producerPublishRate"),
                                        ("topic/public/default/t", "producerPublishRate")])
def test_a_stored_policy_that_can_not_be_read_stops_the_start(broker, key, field):
    """Going on without it would be going on without a limit."""
    broker.ok("PUT", "/persistent/public/default/t")
    broker.ok("PUT", "/persistent/public/default/parts/partitions", 1)
    assert broker.stop() == 0
    with sqlite3.connect(broker.data_dir / "meta.db") as db:
        row = json.loads(db.execute("select value from kv where key = ?", (key,)).fetchone()[0])
        row[field] = {"publishThrottlingRateInMsg": "many"}
        db.execute("update kv set value = ? where key = ?", (json.dumps(row), key))
    db.close()
    broker.spawn()
    assert broker.process.wait(harness.START_S) != 0
    assert field in broker.log_tail() and "many" in broker.log_tail()


def test_a_frame_that_claims_more_messages_than_it_has_room_for_is_not_believed(broker, topic):
    """Else one client would put all who share a quota with it in debt for days."""
    broker.ok("POST", "/namespaces/public/default/publishQuota", {"publishThrottlingRateInMsg": 1000})
    with raw.Connection(broker) as liar, raw.Connection(broker) as other:
        liar.create_producer(topic)
        other.create_producer(topic + "-2")
        for i, metadata in enumerate([{11: 2 ** 31 - 1}, {8: 0, 9: 2 ** 32 - 1, 11: 2 ** 31 - 1}]):
            liar.write(raw.send(i, b"x" * 60, metadata=metadata))
            liar.expect(raw.SEND_RECEIPT)
        assert broker.stats(topic)["msgInCounter"] == 20
        other.write(raw.send(0))
        other.expect(raw.SEND_RECEIPT)
        liar.write(raw.send(2, metadata={8: 1, 9: 2 ** 32 - 1, 11: 2 ** 31 - 1}))  # compressed: the largest frame's
        liar.expect(raw.SEND_RECEIPT)
        assert broker.stats(topic)["msgInCounter"] == 20 + 5 * 1024 * 1024 // 6
