"""Cleaning an OUT: what no row of the present snapshot needs goes."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from pipelines.batch import plan as plans, publish as publishing, snapshot as snapshots
from pipelines.batch.export import manifest_rows
from pipelines.batch.lease import DRIVER, Lease, require_free
from pipelines.cluster import notes
from sinks import blobs, parts
from transforms import sql
from transforms.errors import WavemillError
from transforms.scratch import temporary_folder
from transforms.settings import Settings
from transforms.storage import Entry
from transforms.store import Store

YOUNG_S = 86_400.0
"""A blob younger than a day may belong to a part that is about to be written."""


def clean(out: str, settings: Settings, dry: bool = False, young_s: float = YOUNG_S) -> dict[str, int]:
    """Rewrite parts and plan to the snapshot's keys, then drop blobs that neither a part nor the
    published manifest names and that are older than `young_s`.

    Needs every lease free and a published manifest: raises `lease_held` or `bad_usage`.
    """
    store = Store(out, settings.storage_patience_s)
    stored = plans.require_stored(store)
    if not publishing.published_rows(store):
        raise WavemillError("bad_usage", f"{store.url} has no published manifest; run or publish it first", "out")
    require_free(store, settings.lease_ttl_s)
    with Lease(store, DRIVER, settings.lease_ttl_s), temporary_folder() as scratch:
        old_parts = [entry.url for entry in store.entries("parts")]
        needed = {stored["snapshot"], stored["work"]}
        old_plans = [e.url for e in store.entries("plan") if e.url.endswith(".parquet") and e.url not in needed]
        orphans = _rewrite(store, scratch, old_parts, dry, young_s)
        if not dry:
            store.remove(old_parts)
            store.remove(old_plans)
            store.remove([entry.url for entry in orphans])
            store.remove([name for name, _ in store.sizes(notes.ROOT)])
            store.sweep(young_s)
    return {"parts": len(old_parts), "plans": len(old_plans), "blobs": len(orphans), "bytes": sum(entry.bytes for entry in orphans)}


def _rewrite(store: Store, scratch: Path, old_parts: list[str], dry: bool, young_s: float) -> list[Entry]:
    """Store the winning rows as one part; the blobs nobody names."""
    target = scratch / "compact.parquet"
    with snapshots.connect(scratch) as con:
        plans.load_snapshot(con, store, plans.require_stored(store), scratch)
        parts.view(con, store, scratch)
        names = ", ".join(parts.SCHEMA.names)
        con.execute(f"""
            COPY (SELECT {names} FROM parts SEMI JOIN winners USING (key, part) SEMI JOIN (SELECT key FROM snapshot) s USING (key) ORDER BY key)
            TO {sql.literal(target)} (FORMAT parquet, COMPRESSION zstd)
        """)
        named = {name for (name,) in con.execute(f"SELECT unnest(outputs).uri FROM read_parquet({sql.file(target)})").fetchall()}
    if not dry:
        store.upload(target, f"parts/compact-{secrets.token_hex(8)}.parquet")
    # a run with other options that is not finished has a snapshot of its own: what is published stays whole until then
    for row in manifest_rows(store, ["outputs"]):
        named.update(blobs.within(output["uri"]) for output in row["outputs"] or ())
    limit_s = time.time() - young_s
    return [entry for entry in store.entries("blobs") if entry.url not in named and entry.modified_s < limit_s]
