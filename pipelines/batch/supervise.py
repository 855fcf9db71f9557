"""Running the pipeline in a child process, and what to do when it dies.

Only this, the living parent, counts a death: of the units that were open. A unit open at three deaths is taken apart, its
items run one by one in a child of their own, and the one that kills that child is the failure `engine_crashed`.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from pipelines.batch import units
from pipelines.batch.room import Job
from pipelines.supervised import DEATHS, Child, Control, Hear, cause
from sinks import parts
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.records import Failure, Item
from transforms.storage import Store


def work(job: Job, refs: Sequence[units.Ref], store: Store, scratch: Path, control: Control, hear: Hear) -> None:
    """Work all units to their commit, or until `control` says stop. Raises what a child raised of the system."""
    deaths: Counter[str] = Counter()
    left = {ref.unit: ref for ref in refs}
    alone: list[units.Ref] = []
    empty_deaths = 0
    while left and control.reason is None:
        child = _child(job, list(left.values()), scratch, control, hear)
        code = child.run()
        for unit in child.done:
            left.pop(unit, None)
        if code == 0:
            break
        empty_deaths = 0 if child.opened or child.done else empty_deaths + 1
        if empty_deaths == DEATHS:
            raise WavemillError(
                "engine_unloadable", f"the pipeline process died {DEATHS} times before any work ({cause(code)})\n{child.last_lines}"
            )
        deaths.update(child.opened)
        hear({"death": cause(code), "open": len(child.opened)})
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
        child = _child(serial, list(left.values()), scratch, control, hear)
        code = child.run()
        for unit in child.done:
            left.pop(unit, None)
        if code == 0:
            break
        if not child.opened:
            raise WavemillError("engine_unloadable", f"the pipeline process died before any work ({cause(code)})\n{child.last_lines}")
        for unit in child.opened:
            one = left.pop(unit)
            row = pq.ParquetFile(target).read_row_group(one.group).slice(one.offset, 1).to_pylist()[0]
            options = engine_class(job.operation, job.engine).Options()
            item = Item(row["key"], row["id"], operation(job.operation).name, job.engine, options, {})
            failure = Failure("engine_crashed", f"the item killed its process {DEATHS + 1} times ({cause(code)})")
            store.write(parts.name(one.unit, one.n), parts.encode([item], [failure], [0.0], one.n))
            hear({"done": one.unit, "items": 1, "failed": {"engine_crashed": 1}, "audio_s": 0.0, "cost_s": one.cost_s, "slowest": []})


def _child(job: Job, refs: Sequence[units.Ref], scratch: Path, control: Control, hear: Hear) -> Child:
    return Child("pipelines.batch.child", [job.to_json(), json.dumps(refs)], scratch, control, hear)
