"""The driver of a stream as a Beam job: it submits, watches that the job begins, and submits again what ends or never begins.

On Flink 1.19 six of ten jobs with short checkpoints never got their first element, while all looked well: so a job has begun once it has
left its mark beside a partition's committed offset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineState
from kafka.errors import KafkaError

from pipelines.stream.beam import Job, build
from pipelines.stream.brokers import BROKER_WAIT_S, LONGEST_BACKOFF_S, Brokers
from pipelines.stream.spec import StreamSpec
from pipelines.stream.turn import dismiss
from pipelines.stream.watch import Watch
from pipelines.supervised import Control
from sources.kafka import TopicReader
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess

BEGIN_S = 120.0
"""A job that has not begun by then is cancelled."""
LOOK_S = 1.0


class Jobs:
    """`options` are Beam's own. `settings` are those that flags gave, for the workers."""

    def __init__(
        self,
        spec: StreamSpec,
        settings: Mapping[str, Any],
        access: KafkaAccess,
        options: Sequence[str],
        control: Control,
        say: Callable[[str], None],
    ) -> None:
        self.spec, self.settings, self.access, self.options, self.control, self.say = spec, settings, access, options, control, say

    def run(self) -> None:
        """One job after another, until told to stop. Raises `bad_usage`, and `broker_unavailable` where brokers refuse."""
        brokers = Brokers(self.spec, self.access, self.control, Watch(), self.say)
        reader = brokers.patiently(brokers.open_reader)
        if reader is None:
            return
        try:
            wait_s = 1.0
            while self.control.reason is None:
                job = Job(self.spec, dict(self.settings), self.access.brokers, _now())
                wait_s = 1.0 if self._try(job, reader) else min(2 * wait_s, LONGEST_BACKOFF_S)
                self._pause(wait_s)
        finally:
            reader.close()

    def _try(self, job: Job, reader: TopicReader) -> bool:
        """One job, until it ends or has to; whether it had begun."""
        pipeline = beam.Pipeline(options=PipelineOptions([*self.options, "--runner=PortableRunner", "--streaming"]))
        build(pipeline, job, reader.numbers())
        try:
            result = pipeline.run()
        except (grpc.RpcError, grpc.FutureTimeoutError, RuntimeError) as error:
            self.say(f"job {job.id} was not taken: {type(error).__name__} {error}")
            return False
        self.say(f"job {job.id}: submitted")
        begun, deadline_s = False, time.monotonic() + BEGIN_S
        try:
            while self.control.reason is None and not PipelineState.is_terminal(state := result.state):
                if not begun and self._has_begun(job, reader):
                    begun = True
                    self.say(f"job {job.id}: works")
                if not begun and time.monotonic() > deadline_s:
                    self.say(f"job {job.id}: nothing came within {BEGIN_S:g} s; it is cancelled and submitted again")
                    break
                self._pause(LOOK_S)
            else:
                if self.control.reason is None:
                    self.say(f"job {job.id}: {state}; it is submitted again")
        except grpc.RpcError as error:
            self.say(f"job {job.id}: {error}")
        if self.control.reason is not None:
            self._dismiss(reader)
        self._cancel(result)
        return begun

    def _dismiss(self, reader: TopicReader) -> None:
        """End the job from within: Flink's job server, asked to cancel, forgets a job and leaves Flink at work."""
        for number in reader.numbers():
            try:
                dismiss(self.spec, self.access, reader, number, _now())
            except (KafkaError, WavemillError) as error:
                self.say(f"partition {number} was not taken from the job: {type(error).__name__}: {error}")

    def _has_begun(self, job: Job, reader: TopicReader) -> bool:
        try:
            marks = [reader.committed(reader.home(number), BROKER_WAIT_S).mark for number in reader.numbers()]
        except KafkaError:
            return False  # brokers are away
        if drained := next((mark for mark in marks if mark.out), None):
            raise WavemillError("bad_usage", f"the group {self.spec.group} is drained into {drained.at}; give another group", "group")
        return any(mark.job == job.id for mark in marks)

    def _cancel(self, result: Any) -> None:
        try:
            if not PipelineState.is_terminal(result.state):
                result.cancel()
        except (grpc.RpcError, RuntimeError) as error:
            self.say(f"cancelling: {error}")

    def _pause(self, wait_s: float) -> None:
        deadline_s = time.monotonic() + wait_s
        while self.control.reason is None and time.monotonic() < deadline_s:
            time.sleep(0.1)


def _now() -> str:
    """An id that is greater than all before."""
    return f"{time.time_ns():020d}"
