"""Running the pipeline in a child process, and what to do when it dies.

Only this, the living parent, counts a death: of the units that were open. A unit open at three deaths is taken apart, its
items run one by one in a child of their own, and the one that kills that child is the failure `engine_crashed`.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
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
from transforms.store import Store


def work(
    job: Job,
    refs: Sequence[units.Ref],
    store: Store,
    scratch: Path,
    control: Control,
    hear: Hear,
    begun: Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Work all units to their commit, or until `control` says stop. Raises what a child raised of the system.

    `begun` says how often the try `UNIT-N` of a unit was begun before, by parents that are dead themselves; `environment` is added to
    the children's.
    """
    begun = begun or {}
    deaths = Counter({ref.unit: begun.get(f"{ref.unit}-{ref.n}", 0) for ref in refs})
    left = {ref.unit: ref for ref in refs}
    alone = [left.pop(ref.unit) for ref in refs if deaths[ref.unit] >= DEATHS]
    empty_deaths = 0
    while left and control.reason is None:
        child = _child(job, list(left.values()), scratch, control, hear, environment)
        code = child.run()
        for unit in child.done:
            left.pop(unit, None)
        if code == 0:
            if child.rested:
                continue
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
        if control.reason is None and not store.exists(parts.name(ref.unit, ref.n)):
            _one_by_one(job, ref, store, scratch, control, hear, begun, environment)


def _one_by_one(
    job: Job,
    ref: units.Ref,
    store: Store,
    scratch: Path,
    control: Control,
    hear: Hear,
    begun: Mapping[str, int],
    environment: Mapping[str, str] | None,
) -> None:
    """Run a unit's items alone, each its own unit; the one that is open when the child dies has crashed.

    So has one that was begun alone so often before that its parents must have died with it. At the end the unit has a part of
    its own, of what its items came to.
    """
    stored = store.fetch([job.work], scratch)[0]
    target = scratch / f"alone-{ref.unit}.parquet"
    cost_s = engine_class(job.operation, job.engine).cost_s
    singles = units.single(stored, ref, target, cost_s)
    left = {one.unit: one for one in singles}
    name = f"plan/work-{secrets.token_hex(6)}.parquet"
    store.upload(target, name)
    serial = replace(job, work=name, serial=True)

    def crash(unit: str, times: int, why: str) -> None:
        one = left.pop(unit)
        row = pq.ParquetFile(target).read_row_group(one.group).slice(one.offset, 1).to_pylist()[0]
        options = engine_class(job.operation, job.engine).Options()
        item = Item(row["key"], row["id"], operation(job.operation).name, job.engine, options, {})
        failure = Failure("engine_crashed", f"the item killed its process {times} times ({why})")
        if store.create(parts.name(one.unit, one.n), parts.encode([item], [failure], [0.0], one.n)):
            hear({"done": one.unit, "items": 1, "failed": {"engine_crashed": 1}, "audio_s": 0.0, "cost_s": one.cost_s, "slowest": []})

    for one in singles:
        if (times := begun.get(f"{one.unit}-{one.n}", 0)) >= DEATHS and not store.exists(parts.name(one.unit, one.n)):
            crash(one.unit, times, "and its parent's with it")
    while left and control.reason is None:
        child = _child(serial, list(left.values()), scratch, control, hear, environment)
        code = child.run()
        for unit in child.done:
            left.pop(unit, None)
        if code == 0:
            if child.rested:
                continue
            break
        if not child.opened:
            raise WavemillError("engine_unloadable", f"the pipeline process died before any work ({cause(code)})\n{child.last_lines}")
        for unit in child.opened:
            crash(unit, DEATHS + 1, cause(code))
    if control.reason is None:
        made = [parts.name(one.unit, one.n) for one in singles]
        store.create(parts.name(ref.unit, ref.n), parts.join([store.read(name) or b"" for name in made]), durable=True)
        store.remove([*made, name])


def _child(
    job: Job, refs: Sequence[units.Ref], scratch: Path, control: Control, hear: Hear, environment: Mapping[str, str] | None
) -> Child:
    lines = [job.to_json(), json.dumps(refs)]
    return Child("pipelines.batch.child", lines, scratch, control, hear, environment, job.settings.memory_limit_mb)
