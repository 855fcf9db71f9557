"""Where units are worked: one loaded engine, its threads, and the threads that read for it and write after it.

A unit is a plain chain of steps in a unit thread. Several are under way at once and share the engine's threads, so while
one unit is encoded and stored the next is in the engine and another is read.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batch.units import Ref
from pipelines.cluster import notes
from pipelines.warm import WarmEngine
from sinks import parts
from transforms import identity, steps
from transforms.engine import Engine, engine_class
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.options import Options
from transforms.records import Failure, Input, Item, Outcome, Piece
from transforms.settings import Settings
from transforms.storage import filesystem
from transforms.store import Store

log = logging.getLogger(__name__)
Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker of a run needs to know; small, and the same for all units."""

    out: str
    operation: str
    engine: str
    work: str
    settings: Settings
    serial: bool = False
    """One unit at a time, so that a death has one cause."""
    attempts: str = ""
    """On a cluster, the folder of OUT in which a unit is marked before it is begun."""

    def to_json(self) -> str:
        return json.dumps({**{k: v for k, v in asdict(self).items() if k != "settings"}, "settings": self.settings.model_dump(mode="json")})

    @staticmethod
    def from_json(text: str) -> Job:
        values = json.loads(text)
        return Job(**{**values, "settings": Settings(**values["settings"])})


class Room:
    """One per process and job. `emit` hears of units opened and done and of pieces; `stop` ends work within a piece."""

    def __init__(self, job: Job, emit: Emit, stop: threading.Event) -> None:
        self.job, self.emit, self.stop = job, emit, stop
        self.row = operation(job.operation)
        self.store = Store(job.out, job.settings.storage_patience_s)
        self.engine: Engine = engine_class(job.operation, job.engine)()
        self.error: BaseException | None = None
        self.warm = WarmEngine(self.engine, self.store, job.settings, stop, self._on_pieces)
        self.most = 1 if job.serial else self.warm.threads + 2
        self.unit_pool = ThreadPoolExecutor(self.most, "unit")
        self.running: set[Future[None]] = set()
        self.marks: set[str] = set()
        self.rows = _Rows(self.store, job.work)
        self._options = lru_cache(maxsize=4096)(lambda text: self.engine.Options.parse(json.loads(text)))
        self._prefix = lru_cache(maxsize=4096)(lambda text: identity.prefix(self.engine, self._options(text)))

    def put(self, ref: Ref) -> None:
        """Start a unit; waits while enough are under way. Raises what broke an earlier one."""
        while len(self.running) >= self.most:
            self._collect(*wait(self.running, return_when=FIRST_COMPLETED))
        if not (self.stop.is_set() or resting.is_set()):
            self.running.add(self.unit_pool.submit(self._work, ref))

    def drain(self) -> None:
        """Wait for every unit under way. Raises what broke one."""
        if self.running:
            self._collect(*wait(self.running))

    def _collect(self, done: set[Future[None]], waiting: set[Future[None]]) -> None:
        self.running = waiting
        for future in done:
            future.result()

    def _work(self, ref: Ref) -> None:
        try:
            self._commit(ref)
        except steps.Stopped:
            pass
        except BaseException as error:
            self.error = self.error or error
            self.stop.set()
            raise

    def _commit(self, ref: Ref) -> None:
        part = parts.name(ref.unit, ref.n)
        if self.stop.is_set() or self.store.exists(part):
            return
        with self._marked(ref):
            self.emit({"open": ref.unit})
            items = [self._item(row) for row in self.rows.read(ref)]
            outcomes, seconds = self.warm.work(items)
            self.store.flush()  # the blobs are on the disk before the part that names them
            made = parts.encode(items, outcomes, seconds, ref.n)
            self.store.create(part, made, durable=True)  # of two who work it the first has committed
        self.emit(_report(ref, items, outcomes, seconds))

    @contextmanager
    def _marked(self, ref: Ref) -> Iterator[None]:
        """On a cluster, with a mark for as long as this process lives and is at the unit."""
        if not self.job.attempts:
            yield
            return
        mark = notes.mark(self.store, self.job.attempts, ref.unit, ref.n)
        self.marks.add(mark)
        try:
            yield
        finally:
            self.unmark([mark])

    def unmark(self, marks: Sequence[str] | None = None) -> None:
        """Remove these marks, or all: this process lives, so its units did not kill it."""
        names = list(self.marks) if marks is None else marks
        try:
            self.store.remove(names)
        except WavemillError as error:
            log.warning("a mark stays, which counts as a death: %s", error)
        self.marks.difference_update(names)

    def _on_pieces(self, pieces: Sequence[Piece], seconds: float) -> None:
        audio_s = sum(map(steps.audio_s, pieces))
        self.emit({"pieces": len(pieces), "audio_s": round(audio_s, 3), "seconds": round(seconds, 4)})

    def _item(self, row: dict[str, Any]) -> Item:
        """The row as an item. Raises `work_mismatch` when this worker would give it another identity than the plan did."""
        inputs = {
            name: Input("text", row[f"in_{name}"]) if kind == "text" else Input("uri", row[f"in_{name}"], row[f"in_{name}_version"])
            for name, kind in self.row.inputs.items()
            if row[f"in_{name}"] is not None
        }
        options: Options = self._options(row["options"])
        if identity.key(self._prefix(row["options"]), inputs) != row["key"]:
            raise WavemillError(
                "work_mismatch",
                f"this worker's {self.engine.name} {self.engine.version} or its weights are not the plan's; run again to plan anew",
            )
        return Item(row["key"], row["id"], self.row.name, self.engine.name, options, inputs)

    def close(self) -> None:
        self.unit_pool.shutdown(wait=True, cancel_futures=True)
        self.warm.close()


class _Rows:
    """The work file's rows, a unit at a time; the last few row groups are kept."""

    def __init__(self, store: Store, work: str) -> None:
        path = store.path(work)
        self._file = pq.ParquetFile(path if store.local else filesystem(path).open(path, "rb"))
        self._lock = threading.Lock()
        self._group = lru_cache(maxsize=3)(self._read_group)

    def _read_group(self, group: int) -> pa.Table:
        return self._file.read_row_group(group, use_threads=False)

    def read(self, ref: Ref) -> list[dict[str, Any]]:
        with self._lock:
            table = self._group(ref.group)
        rows: list[dict[str, Any]] = table.slice(ref.offset, ref.rows).to_pylist()
        if any(row["unit"] != ref.unit for row in rows):
            raise WavemillError("work_mismatch", f"the work file does not hold unit {ref.unit} where the plan says")
        return rows


def _report(ref: Ref, items: Sequence[Item], outcomes: Sequence[Outcome], seconds: Sequence[float]) -> dict[str, Any]:
    failed: dict[str, int] = {}
    audio_s = 0.0
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            failed[outcome.code] = failed.get(outcome.code, 0) + 1
        else:
            audio_s += outcome.duration_s
    slowest = sorted(zip(seconds, (item.id for item in items), strict=True), reverse=True)[:5]
    return {
        "done": ref.unit,
        "items": len(items),
        "failed": failed,
        "audio_s": round(audio_s, 3),
        "cost_s": ref.cost_s,
        "slowest": [(round(spent, 3), name) for spent, name in slowest],
    }


_events: list[Emit] = []
stopping, resting = threading.Event(), threading.Event()


def listen(emit: Emit) -> None:
    """From now on rooms of this process tell `emit` of their work."""
    _events[:] = [emit]


@cache
def room_for(job_json: str) -> Room:
    """The process's room for a job, made at first use."""
    return Room(Job.from_json(job_json), _events[0] if _events else lambda event: None, stopping)
