"""A worker's share of a run's units. They are worked in a child process, as a local run works all of them.

So an engine that crashes takes no Beam worker along, and its death costs the cluster no retry.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import apache_beam as beam

from pipelines.batch import supervise
from pipelines.batch.room import Job
from pipelines.batch.units import Ref
from pipelines.cluster import notes, versions
from pipelines.supervised import Control
from transforms import pull
from transforms.errors import WavemillError
from transforms.scratch import temporary_folder
from transforms.settings import PoolPlace, Settings
from transforms.storage import is_local
from transforms.store import Store

STOP_POLL_S = 2.0
BEAT_S = 15.0
SENT = ("max_chars", "max_audio_h", "max_input_bytes", "storage_patience_s")
"""Settings that decide what an item's outcome is: the driver's hold. All others are the worker's own."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a job tells every worker."""

    job: str
    token: str
    models: list[str]
    versions: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self))


class WorkShare(beam.DoFn):
    """Works the units of a bundle to their commit. A unit that is committed already is skipped, so a runner's retry doubles nothing."""

    def __init__(self, order_json: str) -> None:
        self.order_json = order_json
        self.refs: list[Ref] = []

    def start_bundle(self) -> None:
        self.refs = []

    def process(self, element: Any) -> Iterator[Any]:
        self.refs.append(Ref(*element))
        return iter(())

    def finish_bundle(self) -> None:
        if self.refs:
            work(self.order_json, self.refs)


def work(order_json: str, refs: Sequence[Ref]) -> None:
    """Work the units of one bundle. What goes wrong with the system is told to the driver in a note, and raised."""
    sent = json.loads(order_json)  # of another version, so that until that is known no more than this is read of it
    out, token = json.loads(sent["job"])["out"], sent["token"]
    store = Store(out, Settings().storage_patience_s)
    control, ended = Control(), threading.Event()
    try:
        if notes.stopped(store, token):
            return
        versions.require_same(sent["versions"], PoolPlace().name)
        order = Order(**sent)
        given = Job.from_json(order.job)
        # the library of voices is found by the environment; one in a folder of the driver's machine is not this machine's
        voices = {} if is_local(given.settings.voices) else {"WAVEMILL_VOICES": given.settings.voices}
        job = _localize(given)
        store = Store(out, job.settings.storage_patience_s)
        notes.tell(store, token, "hello")
        threading.Thread(target=_obey, args=(store, token, control, ended), name="driver", daemon=True).start()
        pull.pull_all(order.models, job.settings)
        marks = notes.count_marks(store, job.attempts)

        def hear(event: dict[str, Any]) -> None:
            if "death" in event:
                notes.tell(store, token, "death", **event)

        with temporary_folder() as scratch, _copy() as environment:
            supervise.work(job, refs, store, scratch, control, hear, marks, environment | voices)
    except WavemillError as error:
        notes.tell(store, token, "error", code=error.code, detail=error.detail)
        raise
    finally:
        ended.set()


def _obey(store: Store, token: str, control: Control, ended: threading.Event) -> None:
    """Until the share is worked: stop when the driver says so, and show it that somebody is here."""
    name, beat_s = secrets.token_hex(6), time.monotonic()
    while control.reason is None and not ended.wait(STOP_POLL_S):
        with suppress(WavemillError):  # the storage is in trouble: the work itself will meet that
            if notes.stopped(store, token):
                control.stop("stopped")
            elif time.monotonic() - beat_s > BEAT_S:
                notes.beat(store, token, name)
                beat_s = time.monotonic()


def _localize(job: Job) -> Job:
    """The job with this machine's settings: folders, device and threads are the worker's, limits the driver's."""
    return replace(job, settings=Settings(**{name: getattr(job.settings, name) for name in SENT}))


@contextmanager
def _copy() -> Iterator[dict[str, str]]:
    """Hold one of the pool's engine copies: what its process finds in its environment."""
    from filelock import FileLock, Timeout

    place = PoolPlace()
    place.folder.mkdir(parents=True, exist_ok=True)
    devices = [name for name in place.devices.split(",") if name]
    while True:
        for number in range(place.copies):
            lock = FileLock(place.folder / f"copy-{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield {"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {}
            finally:
                lock.release()
            return
        time.sleep(0.2)
