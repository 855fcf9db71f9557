"""Beam's job server: what is asked of it, and the pipeline that it is given."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import apache_beam as beam
import grpc
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2 as api, beam_job_api_pb2_grpc as rpc
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner

from pipelines.batch.beam import spread
from pipelines.batch.units import Ref
from pipelines.cluster import versions
from pipelines.cluster.share import Order, WorkShare
from transforms.errors import WavemillError
from transforms.settings import Settings

ANSWER_S = 10.0
ENDED = (api.JobState.DONE, api.JobState.FAILED, api.JobState.CANCELLED, api.JobState.DRAINED)


class JobServer:
    """The job server that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.channel = grpc.insecure_channel(settings.endpoint, options=[("grpc.max_receive_message_length", -1)])
        self.stub = rpc.JobServiceStub(self.channel)

    def close(self) -> None:
        self.channel.close()

    def check(self) -> list[str]:
        """Warnings. Raises `cluster_unavailable` when it does not answer within `ANSWER_S`, and `version_mismatch`."""
        try:
            answer = self.stub.DescribePipelineOptions(api.DescribePipelineOptionsRequest(), timeout=ANSWER_S, wait_for_ready=True)
        except grpc.RpcError as error:
            raise WavemillError(
                "cluster_unavailable",
                f"no Beam job server answers at {self.settings.endpoint} within {ANSWER_S:g} s ({_code(error)}); is it started, and the port that of its jobs?",
                "endpoint",
            ) from None
        warning = versions.judge((one.group, one.name) for one in answer.options) if self.settings.runner == "flink" else None
        return [warning] if warning else []

    def submit(self, order: Order, refs: Sequence[Ref]) -> Running:
        """Send the job. Raises `cluster_unavailable`."""
        options = PipelineOptions(flags(self.settings))
        pipeline = beam.Pipeline(runner=_Runner(), options=options)  # type: ignore[no-untyped-call]
        spread(pipeline, refs) | "work" >> beam.ParDo(WorkShare(order.to_json()))
        try:
            result: Any = pipeline.run()
        except grpc.RpcError as error:
            raise WavemillError(
                "cluster_unavailable", f"the job server at {self.settings.endpoint} did not take the job: {_code(error)}: {error.details()}"
            ) from None
        return Running(self, result._job_id)


class _Handle(JobServiceHandle):
    """Sends a job and leaves it. Beam's own asks for streams of states and messages that end after the timeout, and with one that ended so the
    job server fails to note that a job failed."""

    def run(self, preparation_id: str) -> tuple[str, Iterator[Any], Iterator[Any]]:
        answer = self.job_service.Run(api.RunJobRequest(preparation_id=preparation_id), timeout=self.timeout)
        return answer.job_id, iter(()), iter(())


class _Runner(PortableRunner):
    def create_job_service_handle(self, job_service: Any, options: PipelineOptions) -> JobServiceHandle:
        return _Handle(job_service, options)  # type: ignore[no-untyped-call]


def flags(settings: Settings) -> list[str]:
    """Beam's options: workers come from the pool on Flink, elsewhere they are in this process, unless what was given says otherwise."""
    found = [f"--job_endpoint={settings.endpoint}", "--job_name=wavemill", f"--job_server_timeout={ANSWER_S * 6:.0f}"]
    if settings.runner == "flink":
        found += ["--environment_type=EXTERNAL", f"--environment_config={settings.pool}"]
    else:
        found += ["--environment_type=LOOPBACK"]
    return found + [f"--{option}" for option in settings.beam_options]


class Running:
    """A job that was sent."""

    def __init__(self, server: JobServer, job_id: str) -> None:
        self.server, self.job_id = server, job_id
        self._words: deque[str] = deque(maxlen=5)
        threading.Thread(target=self._listen, name="job messages", daemon=True).start()

    def _listen(self) -> None:
        with suppress(grpc.RpcError, ValueError):
            for message in self.server.stub.GetMessageStream(api.JobMessagesRequest(job_id=self.job_id)):
                said = message.message_response
                if message.HasField("message_response") and said.importance >= api.JobMessage.JOB_MESSAGE_WARNING:
                    self._words.append(said.message_text)

    def state(self) -> str:
        """`runs`, `ended`, or `unknown` while the job server does not answer or does not know the job."""
        try:
            found: Any = self.server.stub.GetState(api.GetJobStateRequest(job_id=self.job_id), timeout=ANSWER_S).state
        except grpc.RpcError:
            return "unknown"
        return "ended" if found in ENDED else "runs"

    def end(self, patience_s: float, enough: Callable[[], bool]) -> bool:
        """Whether a job that was told to stop has ended within `patience_s`, or before `enough`. One that has not will when its workers look."""
        deadline = time.monotonic() + patience_s
        while (state := self.state()) == "runs" and time.monotonic() < deadline and not enough():
            time.sleep(0.2)
        if state == "runs":
            with suppress(grpc.RpcError):
                self.server.stub.Cancel(api.CancelJobRequest(job_id=self.job_id), timeout=ANSWER_S)
        return state == "ended"

    def last_words(self) -> str:
        """The end of what the cluster told of its troubles."""
        return "\n".join(self._words)[-4000:]


def _code(error: grpc.RpcError) -> str:
    return str(error.code().name) if isinstance(error, grpc.Call) else type(error).__name__
