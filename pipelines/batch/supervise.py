"""Running the pipeline in a child process, and what to do when it dies.

Only this, the living parent, counts a death: of the units that were open. A unit open at three deaths is taken apart, its
items run one by one in a child of their own, and the one that kills that child is the failure `engine_crashed`.
"""

from __future__ import annotations

import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from pipelines.batch import units
from pipelines.batch.room import Job
from sinks import parts
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.records import Failure, Item
from transforms.storage import Store

DEATHS = 3
Hear = Callable[[dict[str, Any]], None]


class Control:
    """How the driver is told to stop: `stop(reason)` once ends the work within a piece, `kill()` at once."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.killed = False

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason

    def kill(self) -> None:
        self.killed = True


def work(job: Job, refs: Sequence[units.Ref], store: Store, scratch: Path, control: Control, hear: Hear) -> None:
    """Work all units to their commit, or until `control` says stop. Raises what a child raised of the system."""
    deaths: Counter[str] = Counter()
    left = {ref.unit: ref for ref in refs}
    alone: list[units.Ref] = []
    empty_deaths = 0
    while left and control.reason is None:
        child = _Child(job, list(left.values()), scratch, control, hear)
        code = child.run()
        for unit in child.done:
            left.pop(unit, None)
        if code == 0:
            break
        empty_deaths = 0 if child.opened or child.done else empty_deaths + 1
        if empty_deaths == DEATHS:
            raise WavemillError(
                "engine_unloadable", f"the pipeline process died {DEATHS} times before any work ({_cause(code)})\n{child.last_lines}"
            )
        deaths.update(child.opened)
        hear({"death": _cause(code), "open": len(child.opened)})
        for unit in child.opened:
            if deaths[unit] >= DEATHS and unit in left:
                alone.append(left.pop(unit))
    for ref in alone:
        if control.reason is None:
            _one_by_one(job, ref, store, scratch, control, hear)


def _one_by_one(job: Job, ref: units.Ref, store: Store, scratch: Path, control: Control, hear: Hear) -> None:
    """Run a unit's items alone, each its own unit; the one that is open when the child dies has crashed."""
    stored = store.fetch([job.work], scratch)[0]
    target = scratch / f"alone-{ref.unit}.parquet"
    cost_s = engine_class(job.operation, job.engine).cost_s
    left = {one.unit: one for one in units.single(stored, ref, target, cost_s)}
    name = f"plan/work-{secrets.token_hex(6)}.parquet"
    store.upload(target, name)
    serial = replace(job, work=name, serial=True)
    while left and control.reason is None:
        child = _Child(serial, list(left.values()), scratch, control, hear)
        code = child.run()
        for unit in child.done:
            left.pop(unit, None)
        if code == 0:
            break
        if not child.opened:
            raise WavemillError("engine_unloadable", f"the pipeline process died before any work ({_cause(code)})\n{child.last_lines}")
        for unit in child.opened:
            one = left.pop(unit)
            row = pq.ParquetFile(target).read_row_group(one.group).slice(one.offset, 1).to_pylist()[0]
            options = engine_class(job.operation, job.engine).Options()
            item = Item(row["key"], row["id"], operation(job.operation).name, job.engine, options, {})
            failure = Failure("engine_crashed", f"the item killed its process {DEATHS + 1} times ({_cause(code)})")
            store.write(parts.name(one.unit, one.n), parts.encode([item], [failure], [0.0], one.n))
            hear({"done": one.unit, "items": 1, "failed": {"engine_crashed": 1}, "audio_s": 0.0, "cost_s": one.cost_s, "slowest": []})


def _cause(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"signal {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")
    return f"exit code {code}"


class _Child:
    """One child process from start to end: which units it opened and did not finish, and which it finished."""

    def __init__(self, job: Job, refs: Sequence[units.Ref], scratch: Path, control: Control, hear: Hear) -> None:
        self.job, self.refs, self.scratch, self.control, self.hear = job, refs, scratch, control, hear
        self.opened: set[str] = set()
        self.done: set[str] = set()
        self.error: WavemillError | None = None
        self.last_lines = ""
        """The end of what the child printed."""

    def run(self) -> int:
        """The exit code, 0 also when stopped as told. Raises what the child reported of the system."""
        with tempfile.TemporaryFile() as log:
            try:
                return self._run(log)
            finally:
                self.last_lines = _tail(log)
                if self.error and self.error.code == "internal":
                    self.error.detail += f"\n{self.last_lines}"

    def _run(self, log: IO[bytes]) -> int:
        receive, send = os.pipe()
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["TMPDIR"] = str(self.scratch)  # what a killed child leaves goes with the driver's own
        with subprocess.Popen(
            [sys.executable, "-P", "-m", "pipelines.batch.child", str(send)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(send,),
            env=environment,
            text=True,
        ) as process:
            os.close(send)
            events: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_pump, args=(receive, events), daemon=True).start()
            assert process.stdin
            try:
                process.stdin.write(self.job.to_json() + "\n" + json.dumps(self.refs) + "\n")
                process.stdin.flush()
                self._follow(process, events)
            except BrokenPipeError:
                pass  # it died at once; its exit code says how
            except BaseException:
                process.kill()
                raise
            code = process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
        if self.error:
            raise self.error
        return 0 if self.control.killed else code

    def _follow(self, process: subprocess.Popen[str], events: queue.Queue[str | None]) -> None:
        told = False
        assert process.stdin
        while True:
            if self.control.killed:
                process.kill()
            elif self.control.reason and not told:
                process.stdin.write("stop\n")
                process.stdin.flush()
                told = True
            try:
                line = events.get(timeout=0.2)
            except queue.Empty:
                continue
            if line is None:
                return
            self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if "open" in event:
            self.opened.add(event["open"])
        elif "done" in event:
            self.opened.discard(event["done"])
            self.done.add(event["done"])
        elif "error" in event:
            self.error = WavemillError(event["error"], event["detail"])
        self.hear(event)


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 4000))
    return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])


def _pump(receive: int, events: queue.Queue[str | None]) -> None:
    with os.fdopen(receive) as lines:
        for line in lines:
            if line.endswith("\n"):
                events.put(line)
    events.put(None)
