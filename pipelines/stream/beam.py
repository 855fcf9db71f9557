"""A stream as a Beam job for portable runners, experimental: an unbounded Splittable DoFn that takes turns at the partitions.

Its restrictions are ranges of offsets, so that a runner sees progress and may checkpoint. What was done is decided by Kafka alone, at the
beginning of each turn (`turn.py`): a bundle that a runner gives twice, or sets back, finds its messages answered.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import apache_beam as beam
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration
from kafka.errors import KafkaError

from pipelines.stream.desk import Desk
from pipelines.stream.spec import StreamSpec
from pipelines.stream.turn import RETRY_S, Superseded, Turn
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess, Settings

log = logging.getLogger(__name__)
END = 1 << 62


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a job needs to know. All else of its machine (weights' folder, how brokers are spoken to) is its environment's."""

    spec: StreamSpec
    settings: dict[str, Any]
    """Those that flags gave."""
    brokers: str
    id: str
    """Greater than those of earlier jobs."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Job:
        values = json.loads(text)
        return Job(**{**values, "spec": StreamSpec(**values["spec"])})


class _Tracker(OffsetRestrictionTracker):
    """Of one partition, which has one worker: it may be checkpointed, not shared out."""

    def is_bounded(self) -> bool:
        return False

    def try_split(self, fraction_of_remainder: float) -> Any:
        return super().try_split(0) if fraction_of_remainder == 0 else None  # type: ignore[no-untyped-call]


class _Offsets(RestrictionProvider):
    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, END)

    def create_tracker(self, restriction: OffsetRange) -> _Tracker:
        return _Tracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return 1

    def truncate(self, element: int, restriction: OffsetRange) -> None:
        return None


class TakeTurns(beam.DoFn):
    """Element: the number of a partition. Gives nothing: outcomes are in their topics."""

    def __init__(self, job_json: str) -> None:
        self.job_json = job_json

    def setup(self) -> None:
        self.job = Job.from_json(self.job_json)
        self.access = KafkaAccess(brokers=self.job.brokers)
        self.desk, self.one = _desk(self.job)

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(self, element: int, tracker: Any = beam.DoFn.RestrictionParam(_Offsets())) -> Iterator[Any]:  # noqa: B008
        claimed = tracker.current_restriction().start - 1

        def claim(offset: int) -> bool:
            nonlocal claimed
            if offset <= claimed:
                return True  # of a turn that did not come to its commit
            claimed = offset
            return bool(tracker.try_claim(offset))

        wait_s = 0.0
        try:
            with self.one, Turn(self.desk, self.access, element, self.job.id) as turn:  # one at a time, so that a death has one cause
                if not turn.work(claim):
                    return iter(())
                wait_s = turn.wait_s
        except Superseded:
            tracker.try_claim(END)  # there is nothing more to do here
            return iter(())
        except KafkaError as error:
            log.warning("partition %d: %s: %s", element, type(error).__name__, error)
            wait_s = RETRY_S
        except WavemillError as error:
            if error.kind == "usage":
                raise
            log.warning("partition %d: %s: %s", element, error.code, error.detail)
            wait_s = RETRY_S
        tracker.defer_remainder(Duration(seconds=wait_s) if wait_s else None)
        return iter(())


_making = threading.Lock()


@lru_cache(maxsize=1)
def _made(spec_json: str, settings_json: str) -> tuple[Desk, threading.Lock]:
    return Desk(StreamSpec(**json.loads(spec_json)), Settings(**json.loads(settings_json)), threading.Event()), threading.Lock()


def _desk(job: Job) -> tuple[Desk, threading.Lock]:
    """The process's own, made at first use and kept for the jobs that come after."""
    with _making:
        return _made(json.dumps(asdict(job.spec)), json.dumps(job.settings))


def build(pipeline: beam.Pipeline, job: Job, partitions: Sequence[int]) -> None:
    (
        pipeline
        | "partitions" >> beam.Create(list(partitions), reshuffle=False)
        | "spread" >> beam.Reshuffle()
        | "turns" >> beam.ParDo(TakeTurns(job.to_json()))
    )
