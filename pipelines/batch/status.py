"""What an OUT holds: done, failed, missing, who works on it. Reads parts, so it works before anything is published."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.batch import plan as plans, publish as publishing, snapshot as snapshots
from pipelines.batch.lease import alive
from transforms.scratch import temporary_folder
from transforms.settings import Settings
from transforms.storage import Store

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


def status(out: str, settings: Settings) -> Status:
    """Raises `bad_usage` where no run ever was."""
    store = Store(out, settings.storage_patience_s)
    stored = plans.require_stored(store)
    with temporary_folder() as folder, snapshots.connect(folder) as con:
        publishing.open_outcomes(con, store, folder)
        counts = publishing.count(con)
        failures = con.sql(f"SELECT index, id, code, detail FROM outcomes WHERE status = 'failed' ORDER BY index LIMIT {EXAMPLES}")
        examples = [dict(zip(failures.columns, row, strict=True)) for row in failures.fetchall()]
    leases = (store.read_object(entry.url) for entry in store.entries("leases"))
    return Status(
        out=store.url,
        operation=stored["spec"]["operation"],
        engine=stored["engine"],
        source=stored["spec"]["source"],
        counts=counts,
        published_rows=publishing.published_rows(store),
        holders=[lease["holder"] for lease in leases if lease and alive(lease, settings.lease_ttl_s)],
        examples=examples,
        last_run=store.read_object("run.json") or {},
    )
