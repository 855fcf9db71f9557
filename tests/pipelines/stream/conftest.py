"""Streams over a real Kafka, each with fresh topics; what a failing test leaves running ends with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
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
