import pulsar
import pytest


@pytest.fixture
def connect():
    clients = []

    def make(broker):
        clients.append(pulsar.Client(broker.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)))
        return clients[-1]

    yield make
    for c in clients:
        c.close()
