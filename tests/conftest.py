"""Fixtures of the system and interoperability tests. A test that fails shows the end of its brokers' logs
and of the files that its fixtures named in `item.logs`."""
import os
import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import harness  # noqa: E402  (after the path is set)

SECONDS = 120
counts = {"passed": 0, "failed": 0}


@pytest.fixture
def make_broker(tmp_path, request):
    """make_broker(*options, **keywords of harness.Broker): started; ended in order after the test."""
    brokers = []

    def make(*options, name="data", start=True, **keywords):
        broker = harness.Broker(tmp_path / name, options, **keywords)
        brokers.append(broker)
        if start:
            broker.start()
        return broker

    request.node.brokers = brokers
    yield make
    problems = [p for b in brokers for p in b.end()]
    assert not problems, problems


@pytest.fixture
def broker(make_broker):
    return make_broker()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, request):
    """One broker for all tests of a file: each uses names of its own (the fixture `topic`)."""
    b = harness.Broker(tmp_path_factory.mktemp("shared") / "data")
    b.start()
    yield b
    assert not b.end()


@pytest.fixture
def topic(request):
    name = "".join(c if c.isalnum() else "-" for c in request.node.name)
    return f"persistent://public/default/{name}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    mark = item.get_closest_marker("limit")
    seconds = mark.args[0] if mark else SECONDS

    def too_long(*_):
        raise TimeoutError(f"the test took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds * harness.SLOWNESS)
    try:
        return (yield)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        brokers = list(getattr(item, "brokers", []))
        if "shared" in item.funcargs:
            brokers.append(item.funcargs["shared"])
        for b in brokers:
            report.sections.append((f"log of {b.data_dir}", b.log_tail()))
        for path in getattr(item, "logs", []):
            report.sections.append((f"end of {path.name}", path.read_text(errors="replace")[-6000:]))
    return report


def pytest_runtest_logreport(report):
    if report.when == "call" and report.passed:
        counts["passed"] += 1
    elif report.failed:
        counts["failed"] += 1


def pytest_sessionfinish(session):
    path = os.environ.get("COUNTS_FILE")
    if path and not hasattr(session.config, "workerinput"):  # where tests run side by side: of all
        pathlib.Path(path).write_text(f"{counts['passed']} {counts['failed']}\n")
