"""The Beam pipeline of a run: unit references in, committed units behind. Any runner may run it, and run it again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.batch.room import Room, room_for
from pipelines.batch.units import Ref


class RunUnits(beam.DoFn):
    """Works each unit to its commit. A unit that is committed already is skipped, so a runner's retry doubles nothing."""

    def __init__(self, job_json: str) -> None:
        self.job_json = job_json
        self.room: Room | None = None

    def setup(self) -> None:
        self.room = room_for(self.job_json)

    def process(self, element: Any) -> Iterator[Any]:
        assert self.room
        self.room.put(Ref(*element))
        return iter(())

    def finish_bundle(self) -> None:
        assert self.room
        self.room.drain()


def run_local(job_json: str, refs: Iterable[Ref]) -> None:
    """Run in this process. `FnApiRunner` by name: `DirectRunner` would look for another runner and fall back in silence."""
    options = PipelineOptions(["--direct_running_mode=in_memory"], save_main_session=False)
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        build(pipeline, job_json, refs)


def build(pipeline: beam.Pipeline, job_json: str, refs: Iterable[Ref]) -> None:
    spread(pipeline, refs) | "work" >> beam.ParDo(RunUnits(job_json))


def spread(pipeline: beam.Pipeline, refs: Iterable[Ref]) -> Any:
    """References to units, shared out over workers. References only: bytes never pass through Create or a shuffle."""
    return pipeline | "units" >> beam.Create([tuple(ref) for ref in refs], reshuffle=False) | "spread" >> beam.Reshuffle()
