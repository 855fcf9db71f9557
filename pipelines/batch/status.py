"""What an OUT holds: done, failed, missing, who works on it. Reads parts, so it works before anything is published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.batch import plan as plans, publish as publishing, ranges, snapshot as snapshots
from pipelines.batch.lease import alive
from transforms.records import KAFKA
from transforms.scratch import temporary_folder
from transforms.settings import Settings
from transforms.store import Store

EXAMPLES = 10


@dataclass(slots=True)
class Status:
    """`examples` are the first failures: index, id, code, detail. `holders` are living drivers."""

    out: str
    operation: str
    engine: str
    source: str
    counts: publishing.Counts
    published_rows: int
    holders: list[str] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    last_run: dict[str, Any] = field(default_factory=dict)
    ranges: int = 0
    """Of a topic that is drained here."""
    unfinished: bool = False
    """Whether the last range is."""


def status(out: str, settings: Settings) -> Status:
    """Raises `bad_usage` where no run ever was."""
    store = Store(out, settings.storage_patience_s)
    return _drained(store, settings) if store.exists(ranges.ROOT) else _one(store, settings)


def _drained(store: Store, settings: Settings) -> Status:
    """The ranges together. Of those that are finished their last run's own account is taken; examples are of the last range."""
    about = store.read_object(ranges.ROOT) or {}
    counts, published, last, unfinished = publishing.Counts(0, 0, 0), 0, None, False
    finished = ranges.finished(store)
    names = ranges.records(store)
    for name in names:
        range = ranges.read(store, name)
        inner = Store(store.path(range.folder), settings.storage_patience_s)
        unfinished = range.done not in finished
        if unfinished or name == names[-1]:
            last = _one(inner, settings) if plans.read_stored(inner) else None
            mine = last.counts if last else publishing.Counts(range.messages, 0, range.messages)
        else:
            run = inner.read_object("run.json") or {}
            rows, done = int(run.get("rows", range.messages)), int(run.get("done", 0))
            mine = publishing.Counts(rows, done, int(run.get("missing", 0)), run.get("failed", {}), 3600 * float(run.get("audio_h", 0.0)))
        counts = counts.plus(mine)
        published += 0 if unfinished else mine.rows
    return Status(
        out=store.url,
        operation=about.get("operation", ""),
        engine=last.engine if last else "",
        source=f"{KAFKA}{about.get('topic')}?group={about.get('group')}",
        counts=counts,
        published_rows=published,
        holders=_holders(store, settings),
        examples=last.examples if last else [],
        last_run=last.last_run if last else {},
        ranges=len(names),
        unfinished=unfinished,
    )


def _holders(store: Store, settings: Settings) -> list[str]:
    leases = (store.read_object(entry.url) for entry in store.entries("leases"))
    return [lease["holder"] for lease in leases if lease and alive(lease, settings.lease_ttl_s)]


def _one(store: Store, settings: Settings) -> Status:
    stored = plans.require_stored(store)
    with temporary_folder() as folder, snapshots.connect(folder) as con:
        publishing.open_outcomes(con, store, folder)
        counts = publishing.count(con)
        failures = con.sql(f"SELECT index, id, code, detail FROM outcomes WHERE status = 'failed' ORDER BY index LIMIT {EXAMPLES}")
        examples = [dict(zip(failures.columns, row, strict=True)) for row in failures.fetchall()]
    return Status(
        out=store.url,
        operation=stored["spec"]["operation"],
        engine=stored["engine"],
        source=stored["spec"]["source"],
        counts=counts,
        published_rows=publishing.published_rows(store),
        holders=_holders(store, settings),
        examples=examples,
        last_run=store.read_object("run.json") or {},
    )
