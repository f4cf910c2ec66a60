import pulsar
import pytest


def new_client(broker, **keywords):
    logger = pulsar.ConsoleLogger(pulsar.LoggerLevel.Warn)
    return pulsar.Client(broker.url, logger=logger, operation_timeout_seconds=20, **keywords)


@pytest.fixture
def client(shared):
    c = new_client(shared)
    yield c
    c.close()


@pytest.fixture
def connect():
    """connect(broker): a client, closed after the test."""
    clients = []

    def make(broker, **keywords):
        clients.append(new_client(broker, **keywords))
        return clients[-1]

    yield make
    for c in clients:
        try:
            c.close()
        except pulsar.PulsarException:
            pass
