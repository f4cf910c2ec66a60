"""Blocks by hand, as unmodified clients meet them: who is blocked waits, held or not, and goes on when the block ends; the
rest of its connection sees nothing of it."""
import threading
import time

import harness
import pulsar
from test_hold import Sender, check_exact, holding, limited, producer, publisher, unlimit  # noqa: F401


def block(broker, topic):
    return broker.ok("POST", "/blocks", {"kind": "topic", "name": topic})["id"]


def unblock(broker, number):
    broker.ok("DELETE", f"/blocks/{number}")


def connections(broker):
    return sorted(c["id"] for c in broker.ok("GET", "/clients"))


def wait_until_held(broker, topic):
    harness.wait_for(lambda: publisher(broker, topic).get("throttleStep") == "hold", what="a hold")


def accepted(broker, topic):
    return broker.stats(topic)["msgInCounter"]


def test_a_block_during_a_hold_loses_nothing_and_disturbs_nobody(holding, connect, topic):  # noqa: F811
    client = connect(holding)
    limited(holding, topic, 300)
    neighbour = Sender(producer(client, topic + "-neighbour"), pace=200)
    sender = Sender(producer(client, topic))
    wait_until_held(holding, topic)
    there = connections(holding)
    number = block(holding, topic)
    count, calm = accepted(holding, topic), len(neighbour.ok)
    time.sleep(1.5)
    assert accepted(holding, topic) == count  # not even what its limit would let pass
    assert len(neighbour.ok) - calm > 100
    p = publisher(holding, topic)
    assert p["throttled"] and p["throttledReason"] == "blocked"
    unblock(holding, number)
    harness.wait_for(lambda: accepted(holding, topic) > count + 300, what="that it goes on")
    unlimit(holding, topic)
    sender.stop()
    neighbour.stop()
    check_exact(holding, client, topic, sender)
    assert neighbour.ok == list(range(neighbour.sent)) and not neighbour.failed
    assert connections(holding) == there


def test_one_without_a_limit_is_held_by_its_block_and_goes_on(holding, connect, topic):  # noqa: F811
    """More than a blocked producer may park: 1 MiB."""
    client = connect(holding)
    neighbour = Sender(producer(client, topic + "-neighbour"), pace=200)
    sender = Sender(producer(client, topic), size=4000, pace=5000)
    harness.wait_for(lambda: len(sender.ok) > 100, what="messages")
    there = connections(holding)
    number = block(holding, topic)
    wait_until_held(holding, topic)
    calm = len(neighbour.ok)
    time.sleep(1)
    assert len(neighbour.ok) - calm > 50
    unblock(holding, number)
    count = len(sender.ok)
    harness.wait_for(lambda: len(sender.ok) > count + 1000, what="that it goes on")
    sender.stop()
    neighbour.stop()
    check_exact(holding, client, topic, sender)
    assert connections(holding) == there


def test_a_blocked_consumer_gets_all_of_it_afterwards(holding, connect, topic):  # noqa: F811
    client, got, stop = connect(holding), [], threading.Event()
    consumer = client.subscribe(topic, "sub", receiver_queue_size=10)
    out = client.create_producer(topic, block_if_queue_full=True)

    def receive():
        while not stop.is_set():
            try:
                message = consumer.receive(200)
            except pulsar.Timeout:
                continue
            got.append(int(message.data()))
            consumer.acknowledge(message)

    reader = threading.Thread(target=receive)
    reader.start()
    try:
        for i in range(100):
            out.send(b"%d" % i)
        harness.wait_for(lambda: len(got) == 100, what="all of them")
        there = connections(holding)
        b = holding.ok("POST", "/blocks", {"kind": "topic", "name": topic})
        waiting = [out.send_async(b"%d" % i, lambda *_: None) for i in range(100, 200)]
        time.sleep(1)
        assert len(got) == 100
        unblock(holding, b["id"])
        out.flush()
        harness.wait_for(lambda: len(got) == 200, what="the rest")
        time.sleep(0.2)
        assert got == list(range(200)) and len(waiting) == 100
        assert connections(holding) == there
    finally:
        stop.set()
        reader.join()
