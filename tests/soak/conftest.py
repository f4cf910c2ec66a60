import pathlib
import sys

import pulsar
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "interop"))  # its loads, its figures of admissions


@pytest.fixture
def connect():
    clients = []

    def make(broker):
        clients.append(pulsar.Client(broker.url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)))
        return clients[-1]

    yield make
    for c in clients:
        c.close()
