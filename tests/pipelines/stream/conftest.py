"""Streams over a real Kafka, each with fresh topics; what a failing test leaves running ends with it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.topics import Stream


@pytest.fixture
def stream(kafka_server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stream]:
    made = Stream(kafka_server, f"t{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}", tmp_path)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            made.kill(worker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what its workers said last."""
    report = yield
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    if report.failed and folder:
        report.sections += [(path.name, path.read_text()[-4000:]) for path in sorted(folder.glob("worker-*.log"))]
    return report
