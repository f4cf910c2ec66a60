"""Clients over a restart of the broker: messages and cursors are there, clients come back by themselves."""
import time

import pulsar
import pytest

FIXED = 29650  # below the range that the kernel hands out


@pytest.fixture
def fixed(make_broker):
    """On a port that stays the same, so that clients find it again."""
    import os
    port = FIXED + os.getpid() % 1000
    return make_broker("--broker-port", str(port))


@pytest.mark.parametrize("crash", [False, True], ids=["in order", "killed"])
def test_messages_and_cursors_survive(fixed, connect, topic, crash):
    client = connect(fixed)
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared, initial_position=pulsar.InitialPosition.Earliest)
    producer = client.create_producer(topic, batching_enabled=False)
    for i in range(100):
        producer.send(b"%d" % i)
    for _ in range(40):
        m = consumer.receive(5000)
        consumer.acknowledge(m)
    time.sleep(1.5)  # cursors are at most a second behind
    consumer.close()
    fixed.restart(crash=crash)
    producer.send(b"100")
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared)
    got = [int(consumer.receive(10000).data()) for _ in range(61)]
    assert got == list(range(40, 101))
    with pytest.raises(pulsar.Timeout):
        consumer.receive(300)


def test_a_running_producer_and_consumer_go_on(fixed, connect, topic):
    client = connect(fixed)
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic, send_timeout_millis=60000)
    results = []
    for i in range(3):
        for j in range(100):
            producer.send_async(b"%d" % (i * 100 + j), lambda r, _: results.append(r))
        fixed.restart(crash=i % 2 == 1)
    producer.flush()
    assert results == [pulsar.Result.Ok] * 300
    seen = []
    while len(set(seen)) < 300:
        m = consumer.receive(20000)
        seen.append(int(m.data()))
        consumer.acknowledge(m)
    first_times = list(dict.fromkeys(seen))
    assert first_times == list(range(300))
