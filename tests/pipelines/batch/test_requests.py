"""What a unit, a listing and a publication ask of object storage: the figures that docs/scale-out-limits.md reckons with."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipelines.batch import plan as plans, publish as publishing
from pipelines.batch.room import Job, Room
from transforms import storage

from .conftest import SETTINGS, Runner
from .test_bad_input import wav

ROWS, UNIT = 24, 8


@contextmanager
def counted(url: str) -> Iterator[Counter[str]]:
    """The requests that this process sends to object storage meanwhile, by S3's names for them; repeated ones count again."""
    found: Counter[str] = Counter()
    lock = threading.Lock()

    def count(event_name: str, **_: Any) -> None:
        with lock:
            found[event_name.rpartition(".")[2]] += 1

    filesystem = storage.filesystem(url)
    filesystem.connect()
    events = filesystem.s3.meta.events
    events.register("request-created.s3", count)
    try:
        yield found
    finally:
        events.unregister("request-created.s3", count)


@pytest.fixture
def remote(tmp_path: Path, s3: str) -> Runner:
    return Runner(tmp_path, s3)


def work(runner: Runner, plan: plans.Plan) -> Counter[str]:
    """All units of a plan in this process; what they asked for."""
    job = Job(runner.out, plan.spec.operation, "echo", plan.work, SETTINGS)
    with counted(runner.out) as asked:
        room = Room(job, lambda event: None, threading.Event())
        try:
            for ref in plan.refs:
                room.put(ref)
            room.drain()
        finally:
            room.close()
    return asked


def test_a_unit_asks_once_for_its_part_and_writes_each_output_and_the_part(remote: Runner) -> None:
    remote.write([{"text": f"Line {n}."} for n in range(ROWS)])
    plan = plans.make(remote.spec(unit_items=UNIT), SETTINGS, remote.store, remote.folder)
    asked = work(remote, plan)
    units = ROWS // UNIT
    assert len(plan.refs) == units
    # looking for a part that is not there takes a HEAD and a LIST; the work file is one group here, read once
    assert asked == {"PutObject": ROWS + units, "HeadObject": units + 1, "ListObjectsV2": units, "GetObject": 1}


def test_an_audio_input_takes_two_heads_and_a_get(remote: Runner) -> None:
    for n in range(ROWS):
        remote.store.write(f"in/{n}.wav", wav(1 + n, 8000))
    remote.write([{"audio": f"{remote.out}/in/{n}.wav"} for n in range(ROWS)])
    plan = plans.make(remote.spec(operation="transcribe", unit_items=UNIT), SETTINGS, remote.store, remote.folder)
    asked = work(remote, plan)
    # fsspec looks at a file once more when it opens it, to refuse bytes of another version while it reads
    assert asked["GetObject"] == ROWS + 1
    assert asked["HeadObject"] == 2 * ROWS + ROWS // UNIT + 1


def test_publishing_reads_each_part_once(remote: Runner) -> None:
    remote.write([{"text": f"Line {n}."} for n in range(ROWS)])
    plan = plans.make(remote.spec(unit_items=UNIT), SETTINGS, remote.store, remote.folder)
    work(remote, plan)
    with counted(remote.out) as asked:
        publishing.publish(remote.store)
    assert asked["GetObject"] == ROWS // UNIT + 2, "the parts, the plan and its snapshot"
    assert asked["ListObjectsV2"] <= 5, "the parts, and the blobs, of which there are few"
    assert asked["PutObject"] == 2
