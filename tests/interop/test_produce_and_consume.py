"""The official Python client, unmodified: publishing and consuming in its many ways."""
import os
import time

import pulsar
import pytest

EARLIEST = pulsar.InitialPosition.Earliest


def receive_all(consumer, count, ack=True, seconds=20):
    messages = []
    for _ in range(count):
        m = consumer.receive(timeout_millis=seconds * 1000)
        messages.append(m)
        if ack:
            consumer.acknowledge(m)
    return messages


def nothing_more(consumer):
    with pytest.raises(pulsar.Timeout):
        consumer.receive(timeout_millis=300)


def test_sync_and_async_in_order(client, topic):
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    for i in range(50):
        producer.send(b"s%d" % i)
    failures = []
    for i in range(500):
        producer.send_async(b"a%d" % i, lambda result, _: result == pulsar.Result.Ok or failures.append(result))
    producer.flush()
    got = [m.data() for m in receive_all(consumer, 550)]
    assert got == [b"s%d" % i for i in range(50)] + [b"a%d" % i for i in range(500)]
    assert not failures
    nothing_more(consumer)


def test_batches(client, topic):
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared)
    producer = client.create_producer(topic, batching_enabled=True, batching_max_messages=37,
                                      batching_max_publish_delay_ms=5)
    for i in range(1000):
        producer.send_async(b"%d" % i, None)
    producer.flush()
    assert [int(m.data()) for m in receive_all(consumer, 1000)] == list(range(1000))
    nothing_more(consumer)


@pytest.mark.parametrize("batching", [False, True])
@pytest.mark.parametrize("name", ["LZ4", "ZLib", "ZSTD", "SNAPPY"])
def test_compression(client, topic, name, batching):
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic, compression_type=getattr(pulsar.CompressionType, name),
                                      batching_enabled=batching, batching_max_publish_delay_ms=5)
    bodies = [b"abc" * 1000, os.urandom(5000), b"x"]
    if batching:
        bodies.append(b"")  # alone, the client can't decompress what it made of it
    for body in bodies:
        producer.send_async(body, None)
    producer.flush()
    assert [m.data() for m in receive_all(consumer, len(bodies))] == bodies


def test_properties_keys_and_times(client, topic):
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic, producer_name="the-producer", properties={"of": "producer"})
    producer.send(b"body", properties={"a": "1", "ä": "ö"}, partition_key="key", ordering_key="order",
                  event_timestamp=123456789)
    m = receive_all(consumer, 1)[0]
    assert m.properties() == {"a": "1", "ä": "ö"}
    assert m.partition_key() == "key" and m.ordering_key() == "order" and m.event_timestamp() == 123456789
    assert m.producer_name() == "the-producer" and m.topic_name() == topic
    assert abs(m.publish_timestamp() / 1000 - time.time()) < 60


def test_a_message_of_five_megabytes(client, topic):
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    body = os.urandom(5 * 1024 * 1024 - 10 * 1024)
    producer.send(body)
    assert receive_all(consumer, 1)[0].data() == body
    with pytest.raises(pulsar.MessageTooBig):
        producer.send(bytes(6 * 1024 * 1024))
    producer.send(b"after")
    assert receive_all(consumer, 1)[0].data() == b"after"


def test_a_chunked_message(client, topic):
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic, chunking_enabled=True)
    body = os.urandom(12 * 1024 * 1024)
    producer.send(body)
    producer.send(b"after")
    got = receive_all(consumer, 2, seconds=60)
    assert got[0].data() == body and got[1].data() == b"after"


def test_readers(client, topic):
    producer = client.create_producer(topic)
    ids = [producer.send(b"%d" % i) for i in range(10)]
    first = client.create_reader(topic, pulsar.MessageId.earliest)
    assert [int(first.read_next(5000).data()) for _ in range(10)] == list(range(10))
    assert not first.has_message_available()
    middle = client.create_reader(topic, ids[4])
    assert int(middle.read_next(5000).data()) == 5
    included = client.create_reader(topic, ids[4], start_message_id_inclusive=True)
    assert int(included.read_next(5000).data()) == 4
    last = client.create_reader(topic, pulsar.MessageId.latest)
    producer.send(b"10")
    assert int(last.read_next(5000).data()) == 10
    assert first.has_message_available()
    first.close()


def test_seek_to_a_message_and_to_a_time(client, topic):
    producer = client.create_producer(topic)
    consumer = client.subscribe(topic, "s", initial_position=EARLIEST)
    ids = [producer.send(b"%d" % i) for i in range(10)]
    receive_all(consumer, 10)
    consumer.seek(ids[3])
    assert int(receive_all(consumer, 1)[0].data()) in (3, 4)
    consumer.seek(pulsar.MessageId.earliest)
    assert [int(m.data()) for m in receive_all(consumer, 10)] == list(range(10))
    time.sleep(0.05)
    now = int(time.time() * 1000)
    time.sleep(0.05)
    producer.send(b"later")
    consumer.seek(now)
    assert receive_all(consumer, 1)[0].data() == b"later"


def test_negative_acknowledgement_brings_it_again(client, topic):
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared, negative_ack_redelivery_delay_ms=200)
    producer = client.create_producer(topic)
    for i in range(5):
        producer.send(b"%d" % i)
    for m in receive_all(consumer, 5, ack=False):
        if int(m.data()) == 2:
            consumer.negative_acknowledge(m)
        else:
            consumer.acknowledge(m)
    again = consumer.receive(10000)
    assert again.data() == b"2" and again.redelivery_count() == 1
    consumer.acknowledge(again)
    nothing_more(consumer)


def test_what_was_not_acknowledged_comes_again_to_the_next_consumer(client, topic):
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared)
    producer = client.create_producer(topic)
    for i in range(10):
        producer.send(b"%d" % i)
    for m in receive_all(consumer, 10, ack=False):
        if int(m.data()) % 2 == 0:
            consumer.acknowledge(m)
    time.sleep(0.3)
    consumer.close()
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared)
    assert sorted(int(m.data()) for m in receive_all(consumer, 5)) == [1, 3, 5, 7, 9]
    nothing_more(consumer)


def test_cumulative_acknowledgement(client, topic):
    consumer = client.subscribe(topic, "s")
    producer = client.create_producer(topic)
    for i in range(10):
        producer.send(b"%d" % i)
    messages = receive_all(consumer, 10, ack=False)
    consumer.acknowledge_cumulative(messages[6])
    time.sleep(0.3)
    consumer.close()
    consumer = client.subscribe(topic, "s")
    assert [int(m.data()) for m in receive_all(consumer, 3)] == [7, 8, 9]


def test_shared_divides_the_messages(client, topic):
    consumers = [client.subscribe(topic, "s", pulsar.ConsumerType.Shared, receiver_queue_size=5) for _ in range(3)]
    producer = client.create_producer(topic)
    for i in range(90):
        producer.send_async(b"%d" % i, None)
    producer.flush()
    got = [[] for _ in consumers]
    end = time.monotonic() + 20
    while sum(map(len, got)) < 90 and time.monotonic() < end:
        for c, mine in zip(consumers, got):
            try:
                m = c.receive(50)
            except pulsar.Timeout:
                continue
            c.acknowledge(m)
            mine.append(int(m.data()))
    assert sorted(sum(got, [])) == list(range(90))
    assert all(len(mine) >= 10 for mine in got)


def test_exclusive_lets_one_in(client, topic):
    first = client.subscribe(topic, "s")
    with pytest.raises(pulsar.ConsumerBusy):
        client.subscribe(topic, "s")
    first.close()
    client.subscribe(topic, "s").close()


def test_unsubscribe(client, shared, topic):
    client.subscribe(topic, "s").unsubscribe()
    assert shared.stats(topic)["subscriptions"] == {}


def test_latest_and_earliest(client, topic):
    producer = client.create_producer(topic)
    producer.send(b"before")
    late = client.subscribe(topic, "late")
    early = client.subscribe(topic, "early", initial_position=EARLIEST)
    producer.send(b"after")
    assert [m.data() for m in receive_all(late, 1)] == [b"after"]
    assert [m.data() for m in receive_all(early, 2)] == [b"before", b"after"]


def test_partitioned_topic_and_its_growth(client, shared, topic):
    shared.cli("topics", "create-partitioned-topic", topic, "-p", "3")
    assert sorted(client.get_topic_partitions(topic)) == [f"{topic}-partition-{i}" for i in range(3)]
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared)
    producer = client.create_producer(topic, batching_enabled=False,
                                      message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution)
    for i in range(30):
        producer.send(b"%d" % i)
    assert sorted(int(m.data()) for m in receive_all(consumer, 30)) == list(range(30))
    shared.cli("topics", "update-partitioned-topic", topic, "-p", "5")
    assert len(client.get_topic_partitions(topic)) == 5
    producer = client.create_producer(topic, batching_enabled=False,
                                      message_routing_mode=pulsar.PartitionsRoutingMode.RoundRobinDistribution)
    consumer.close()
    consumer = client.subscribe(topic, "s", pulsar.ConsumerType.Shared)
    for i in range(20):
        producer.send(b"%d" % i)
    assert sorted(int(m.data()) for m in receive_all(consumer, 20)) == list(range(20))
    for i in range(5):
        assert shared.stats(f"{topic}-partition-{i}")["msgInCounter"] > 0


def test_regular_expression_subscription(client, topic):
    for i in range(3):
        client.create_producer(f"{topic}-{i}").send(b"%d" % i)
    import re
    pattern = re.compile(re.escape(topic).replace("\\-", "-") + "-.*")
    consumer = client.subscribe(pattern, "s", initial_position=EARLIEST)
    assert sorted(int(m.data()) for m in receive_all(consumer, 3)) == [0, 1, 2]


def test_stats_name_the_client(client, shared, topic):
    consumer = client.subscribe(topic, "s", consumer_name="c-1")
    producer = client.create_producer(topic, producer_name="p-1", properties={"k": "v"})
    for _ in range(5):
        producer.send(b"12345")
    receive_all(consumer, 5)
    stats = shared.stats(topic)
    publisher = stats["publishers"][0]
    assert publisher["producerName"] == "p-1" and "Pulsar-CPP-v" in publisher["clientVersion"].replace(" ", "")
    assert publisher["metadata"] == {"k": "v"}
    assert publisher["address"].startswith("/127.0.0.1:") or publisher["address"].startswith("127.0.0.1:")
    assert stats["msgInCounter"] == 5 and stats["msgOutCounter"] == 5
    subscription = stats["subscriptions"]["s"]
    assert subscription["type"] == "Exclusive"
    assert subscription["consumers"][0]["consumerName"] == "c-1"


def test_a_table_of_many_topics(client, topic):
    producers = [client.create_producer(f"{topic}-{i}") for i in range(100)]
    consumers = [client.subscribe(f"{topic}-{i}", "s", initial_position=EARLIEST) for i in range(100)]
    for i, p in enumerate(producers):
        p.send(b"%d" % i)
    for i, c in enumerate(consumers):
        assert int(receive_all(c, 1)[0].data()) == i
