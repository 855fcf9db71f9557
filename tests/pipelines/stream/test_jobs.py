"""The driver of a stream's Beam jobs, by a runner and brokers that stand in: when it submits another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from apache_beam.runners.runner import PipelineState

from pipelines.stream import jobs
from pipelines.stream.spec import StreamSpec
from pipelines.supervised import Control
from transforms.settings import KafkaAccess


def driven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, states: Iterator[str], marked: bool) -> list[str]:
    """What the driver says until its third job, whose runner tells these states, one each time it is asked."""
    control, said, submitted, marks = Control(), list[str](), list[jobs.Job](), list[Any]()

    class Result(SimpleNamespace):
        state = property(lambda self: next(states))

    def run() -> Result:
        if len(submitted) == 3:
            control.stop("enough")
        if marked:
            marks[:] = [SimpleNamespace(out=False, job=submitted[-1].id)]
        return Result(cancel=lambda: None)

    reader = SimpleNamespace(
        numbers=lambda: range(len(marks)),
        home=lambda number: number,
        committed=lambda number, _: SimpleNamespace(mark=marks[number]),
        close=lambda: None,
    )
    monkeypatch.setattr(jobs, "Brokers", lambda *_: SimpleNamespace(patiently=lambda open: open(), open_reader=lambda: reader))
    monkeypatch.setattr(jobs.beam, "Pipeline", lambda options: SimpleNamespace(run=run))
    monkeypatch.setattr(jobs, "build", lambda pipeline, job, numbers: submitted.append(job))
    monkeypatch.setattr(jobs, "dismiss", lambda *_: None)
    monkeypatch.setattr(jobs.Jobs, "_pause", lambda self, wait_s: None)
    monkeypatch.setattr(jobs, "BEGIN_S", 0.0)
    spec = StreamSpec("synthesize", "echo", {}, "in", "out", "failed", "group", str(tmp_path))
    jobs.Jobs(spec, {}, KafkaAccess(brokers="nowhere:1"), [], control, said.append).run()
    assert len({job.id for job in submitted}) == 3 and [job.id for job in submitted] == sorted(job.id for job in submitted)
    return [line.partition(": ")[2] for line in said]


def test_a_job_that_worked_and_failed_is_submitted_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = [PipelineState.RUNNING, PipelineState.FAILED, PipelineState.FAILED]
    told = driven(monkeypatch, tmp_path, iter(one * 3), marked=True)
    assert told == [*["submitted", "works", "FAILED; it is submitted again"] * 2, "submitted"]


def test_a_job_of_which_nothing_comes_is_cancelled_and_submitted_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = driven(monkeypatch, tmp_path, iter([PipelineState.RUNNING] * 100), marked=False)
    assert told == [*["submitted", "nothing came within 0 s; it is cancelled and submitted again"] * 2, "submitted"]
