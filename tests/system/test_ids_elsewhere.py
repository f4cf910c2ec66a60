"""Producers and consumers on another worker than their connection's are counted as those on its own: what has ended,
or was refused, makes room for others on that connection."""
import pytest
import raw

MOST, ROUNDS = 5, 12


@pytest.fixture
def pair(make_broker):
    """Where `topic` lives, and a connection of the other worker."""
    broker = make_broker("--workers", "2", config={"tidegateMaxConsumersPerConnection": MOST,
                                                   "tidegateMaxProducersPerConnection": MOST})
    with raw.Connection(broker) as home, raw.Connection(broker) as other:
        yield home, other


def test_unsubscribed(pair, topic):
    home, other = pair
    home.create_producer(topic)
    for i in range(ROUNDS):
        other.write(raw.subscribe(topic, f"s{i}", consumer_id=i, request_id=i))
        assert other.expect(raw.SUCCESS)[1] == [i]
        other.write(raw.frame(raw.UNSUBSCRIBE, {1: i, 2: 100 + i}))
        assert other.expect(raw.SUCCESS)[1] == [100 + i]


def test_refused(pair, topic):
    home, other = pair
    home.create_producer(topic, name="taken")
    home.write(raw.subscribe(topic, "taken", sub_type=0))
    home.expect(raw.SUCCESS)
    for i in range(ROUNDS):
        other.write(raw.subscribe(topic, "taken", consumer_id=i, request_id=i, sub_type=0))
        assert b"already connected" in other.expect(raw.ERROR)[3][0]
        other.write(raw.producer(topic, producer_id=i, request_id=i, name="taken"))
        assert b"already connected" in other.expect(raw.ERROR)[3][0]


def test_closed_by_the_broker_and_opened_again_with_the_same_id(pair, topic):
    home, other = pair
    home.create_producer(topic)
    for i in range(ROUNDS):
        other.write(raw.producer(topic, producer_id=7, request_id=i, name="mine", epoch=i))
        assert other.expect(raw.PRODUCER_SUCCESS)[1] == [i]
        other.write(raw.send(0, producer_id=7, name="mine"))
        other.expect(raw.SEND_RECEIPT)


def test_so_many_at_a_time_and_no_more(pair, topic):
    home, other = pair
    home.create_producer(topic)
    for i in range(MOST):
        other.create_producer(topic, producer_id=i)
    other.write(raw.producer(topic, producer_id=MOST))
    assert b"may have 5 producers" in other.expect(raw.ERROR)[3][0]
    other.write(raw.frame(raw.CLOSE_PRODUCER, {1: 0, 2: 99}))
    other.expect(raw.SUCCESS)
    other.create_producer(topic, producer_id=MOST)
