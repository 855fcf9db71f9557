"""The driver's side of a cluster job: what is checked before it is sent, its progress, its end.

Progress is read from the parts that workers commit, and what went wrong from their notes; of the runner only its job's state is asked.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.batch import units
from pipelines.batch.room import Job
from pipelines.cluster import notes, versions
from pipelines.cluster.jobs import JobServer, Running
from pipelines.cluster.share import Order
from pipelines.supervised import DEATHS, Control, Hear
from sinks import parts
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.records import KAFKA
from transforms.settings import Settings
from transforms.storage import is_local
from transforms.store import Store
from transforms.voice_library import saved_in

POLL_S = 1.0
MOST_POLL_S = 15.0
RESEND_S = 10.0
STOP_PATIENCE_S = 30.0


def check(settings: Settings, out: str, source: str = "") -> list[str]:
    """Refuse what cannot work on a cluster, before anything is planned; what to warn of. Raises `bad_usage`, `cluster_unavailable`, `version_mismatch`."""
    for name, url in (("OUT", out), ("SOURCE", source)):
        if url and not url.startswith(KAFKA) and is_local(url):
            raise WavemillError(
                "bad_usage",
                f"{name} {url} is on this machine, and workers of a cluster do not reach it; put it on object storage, such as s3://BUCKET/..., or run without --runner",
                name.lower(),
            )
    if not settings.endpoint:
        raise WavemillError("bad_usage", "--endpoint HOST:PORT is missing: where the cluster's job server listens", "endpoint")
    server = JobServer(settings)
    try:
        return server.check()
    finally:
        server.close()


def work(
    job: Job, models: Sequence[str], refs: Sequence[units.Ref], store: Store, lease: str, scratch: Path, control: Control, hear: Hear
) -> None:
    """As `supervise.work`, on the cluster that the job's settings name; `lease` is the name of the driver's."""
    _refuse_local(job, scratch / "work.parquet")
    token = notes.begin(store, lease, job.settings.endpoint)
    job = replace(job, attempts=notes.attempts(token))
    order = Order(job.to_json(), token, list(models), versions.mine())
    watch = _Watch(store, scratch / "work.parquet", {parts.name(ref.unit, ref.n): ref for ref in refs}, notes.Inbox(store, token), hear)
    hear({})  # from now on a signal is the control's
    server = JobServer(job.settings)
    running, ended = None, False
    try:
        idle = 0
        while watch.left and control.reason is None:
            before = len(watch.left)
            watch.hosts.clear()
            running, ended = server.submit(order, list(watch.left.values())), False
            ended = _follow(running, watch, job.settings, control)
            idle = idle + 1 if len(watch.left) == before else 0
            if watch.left and idle == DEATHS and control.reason is None:
                raise WavemillError(
                    "cluster_failed",
                    f"the cluster's job ended {DEATHS} times without a new result; its last words:\n{running.last_words()}\n"
                    f"Workers come from the pool at {job.settings.pool} beside each task manager; when that is mended the same command goes on",
                )
            _wait(RESEND_S * idle, watch, control)
    finally:
        if not ended:
            notes.stop(store, token)
            ended = running is not None and running.end(0 if control.killed else STOP_PATIENCE_S, lambda: control.killed)
        if ended:
            notes.clear(store, lease, token)
        server.close()
    watch.look()


def _refuse_local(job: Job, work: Path) -> None:
    """Raises `bad_usage` for audio and saved voices that only this machine has."""
    file = pq.ParquetFile(work)
    for name, kind in operation(job.operation).inputs.items():
        for url in _values(file, f"in_{name}") if kind != "text" else ():
            if is_local(url):
                raise WavemillError(
                    "bad_usage",
                    f"the input {url} is on this machine, and workers of a cluster do not reach it; put it beside the manifest on object storage",
                    name,
                )
    for options in _values(file, "options") if is_local(job.settings.voices) else ():
        if voice := saved_in(options):
            raise WavemillError(
                "bad_usage",
                f"the voice {voice} is in {job.settings.voices}, and workers of a cluster do not reach it; "
                "move the folder to object storage and let WAVEMILL_VOICES name it",
                "voice",
            )


def _values(file: pq.ParquetFile, column: str) -> Iterator[str]:
    """What stands in a column; the same value may come once a row group."""
    for group in range(file.num_row_groups) if column in file.schema_arrow.names else ():
        yield from pc.unique(file.read_row_group(group, columns=[column]).column(column).drop_null()).to_pylist()


@dataclass(slots=True)
class _Watch:
    """What is not committed yet, and what is told of what is."""

    store: Store
    work: Path
    left: dict[str, units.Ref]
    inbox: notes.Inbox
    hear: Hear
    hosts: set[str] = field(default_factory=set)
    signs: int = 0
    """Notes and parts that were seen."""

    def look(self) -> float:
        """Tell of new parts and notes; the seconds that took. Raises what a worker told of the system."""
        began = time.monotonic()
        for note in self.inbox.read():
            self.signs += 1
            if note["kind"] == "error":
                raise WavemillError(note["code"], f"on {note['host']}: {note['detail']}")
            if note["kind"] == "hello":
                self.hosts.add(note["host"])
                self.hear({"ready": True})
            elif note["kind"] == "death":
                self.hear({"death": f"{note['death']} on {note['host']}", "open": note["open"]})
        for name, _ in list(self.store.sizes("parts")):
            if name in self.left:
                self.signs += 1
                self.hear(self._report(name, self.left.pop(name)))
        self.hear({})
        return time.monotonic() - began

    def _report(self, name: str, ref: units.Ref) -> dict[str, Any]:
        rows = pq.ParquetFile(self.work).read_row_group(ref.group, columns=["id"]).slice(ref.offset, ref.rows)
        return parts.report(self.store.read(name) or b"", rows.column("id").to_pylist()) | {"done": ref.unit, "cost_s": ref.cost_s}


def _follow(running: Running, watch: _Watch, settings: Settings, control: Control) -> bool:
    """Until the job has ended, all is committed, or `control` says stop; whether it has ended. Raises what workers told, and `cluster_unavailable`."""
    sign_s = time.monotonic()
    while control.reason is None:
        before = watch.signs
        took_s = watch.look()
        if watch.signs != before:
            sign_s = time.monotonic()
        state, silent_s = running.state(), time.monotonic() - sign_s
        if state == "ended" or (not watch.left and (state == "unknown" or silent_s > STOP_PATIENCE_S)):
            watch.look()
            return state == "ended"
        if silent_s > settings.cluster_patience_s:
            if watch.hosts and state == "runs":
                return False  # its workers are gone, and the job server does not know
            raise WavemillError("cluster_unavailable", _no_sign(settings, state, silent_s, running.last_words()))
        time.sleep(min(max(POLL_S, 5 * took_s), MOST_POLL_S))
    return False


def _wait(seconds: float, watch: _Watch, control: Control) -> None:
    """Before a job is sent again that brought nothing: what ended it may be on its way back."""
    until = time.monotonic() + seconds
    while watch.left and control.reason is None and time.monotonic() < until:
        time.sleep(0.2)


def _no_sign(settings: Settings, state: str, waited_s: float, words: str) -> str:
    if state == "unknown":
        return (
            f"the job server at {settings.endpoint} has not known of the job for {waited_s:.0f} s, and nothing was committed; "
            "start it again, then give the same command: it goes on where this stopped"
        )
    return (
        f"no worker began within {waited_s:.0f} s: either the cluster at {settings.endpoint} has no free slot, or there is no worker pool at "
        f"{settings.pool} beside its task managers (`wavemill worker-pool`), or its workers die at start or cannot write to OUT, which their logs tell; workers that it gets later will stop at once"
        + (f". Its last words:\n{words}" if words else "")
    )
