"""The plan of a run, stored in OUT: the snapshot of SOURCE, what is done already, and the work units that are left."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pipelines.batch import ranges, snapshot as snapshots, units
from pipelines.spec import PipelineSpec
from sinks import parts
from transforms import sql, steps
from transforms.errors import WavemillError
from transforms.records import KAFKA
from transforms.settings import Settings
from transforms.store import Store

PLAN = "plan/plan.json"
SHARDS = "plan/shards.json"


def plan_name(shard: tuple[int, int] | None) -> str:
    return f"plan/shard-{shard[0]}-of-{shard[1]}.json" if shard else PLAN


@dataclass(slots=True)
class Plan:
    """What a run has to do. Counts are of rows; `wanted` and the units are of distinct keys."""

    spec: PipelineSpec
    rows: int
    done: int
    failed: dict[str, int]
    refused: dict[str, int]
    wanted: int
    weight: float
    cost_s: float
    refs: list[units.Ref]
    work: str
    models: list[str]
    option_columns: list[str] = field(default_factory=list)
    carried_columns: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_stored(store: Store, name: str = PLAN) -> dict[str, Any] | None:
    """A stored plan, or None where there is none that can be read."""
    return store.read_object(name) or None


def require_stored(store: Store) -> dict[str, Any]:
    """The stored plan. Raises `bad_usage` where no run ever was."""
    stored = _any_stored(store)
    if stored is None:
        why = "its ranges are, under ranges/" if store.exists(ranges.ROOT) else f"there is no {PLAN}"
        raise WavemillError("bad_usage", f"{store.url} is no OUT of wavemill: {why}", "out")
    return stored


def engine_of(spec: PipelineSpec, settings: Settings) -> str:
    """The engine that a spec's OUT was begun with, or nothing."""
    root = spec.work or spec.out
    if root.startswith(KAFKA):
        return ""
    store = Store(root, settings.storage_patience_s)
    if spec.drains and (left := ranges.last(store)):
        store = Store(store.path(left.folder), settings.storage_patience_s)
    stored = read_stored(store, plan_name(spec.shard)) or _any_stored(store)
    return str(stored["engine"]) if stored and stored["spec"]["operation"] == spec.row.name else ""


def _any_stored(store: Store) -> dict[str, Any] | None:
    return read_stored(store) or _first_shard(store)


def _first_shard(store: Store) -> dict[str, Any] | None:
    names = sorted(e.url for e in store.entries("plan") if e.url.startswith("plan/shard-") and e.url.endswith(".json"))
    return read_stored(store, names[0]) if names else None


def make(spec: PipelineSpec, settings: Settings, store: Store, scratch: Path, dry: bool = False, probe: bool = False) -> Plan:
    """Plan a run from its SOURCE and what OUT holds. `dry` writes nothing, `probe` measures every input's length.

    Raises `bad_usage` and `model_unavailable`.
    """
    engine = spec.new_engine()
    options = spec.parse_options(engine)
    steps.check_options(engine, options)
    stored = read_stored(store, plan_name(spec.shard))
    before = stored or _any_stored(store)
    if before and before["spec"]["operation"] != spec.operation:
        raise WavemillError("bad_usage", f"{store.url} is an OUT of {before['spec']['operation']}, not of {spec.operation}", "out")
    with snapshots.connect(scratch) as con:
        taken = snapshots.take(con, spec, engine, scratch, probe)
        name = f"plan/snapshot-{secrets.token_hex(6)}.parquet"
        if spec.shard:
            name = _share_snapshot(con, spec, taken, store, scratch, name, dry)
        elif not dry:
            _refuse_shrinking(spec, store, taken.rows)
        if not dry and not spec.shard:
            _save_snapshot(con, store, scratch, name)
        return _plan(con, spec, store, scratch, taken, stored, name, dry, replay=False)


def remake(spec: PipelineSpec, store: Store, scratch: Path) -> Plan:
    """Plan the failures of the stored snapshot again. Raises `bad_usage` when engine or weights are others by now."""
    stored = require_stored(store)
    engine = spec.new_engine()
    with snapshots.connect(scratch) as con:
        load_snapshot(con, store, stored, scratch)
        rows = con.execute("SELECT count(*) FROM snapshot").fetchone()
        refused = dict(con.execute("SELECT code, count(*) FROM snapshot WHERE code IS NOT NULL GROUP BY 1").fetchall())
        taken = snapshots.Snapshot(int(rows[0]) if rows else 0, refused, stored["source_version"])
        for (text,) in con.execute("SELECT DISTINCT options FROM snapshot WHERE code IS NULL").fetchall():
            taken.models.update(engine.models(engine.Options.parse(json.loads(text))))
        return _plan(con, spec, store, scratch, taken, stored, stored["snapshot"], False, replay=True)


def _plan(
    con: duckdb.DuckDBPyConnection,
    spec: PipelineSpec,
    store: Store,
    scratch: Path,
    taken: snapshots.Snapshot,
    stored: dict[str, Any] | None,
    snapshot_name: str,
    dry: bool,
    replay: bool,
) -> Plan:
    engine = spec.new_engine()
    broken = parts.view(con, store, scratch)
    if broken and not dry:
        store.remove(broken)
        taken.warnings.append(f"{len(broken)} part files could not be read and were removed; their items are made again")
    wanted = units.find_wanted(con, spec.shard, replay)
    mine = units.shard_filter(spec.shard)
    counted = con.execute(f"""
        SELECT w.status, w.code, count(*) FROM snapshot s JOIN winners w USING (key)
        WHERE s.code IS NULL AND {mine} AND s.key NOT IN (SELECT key FROM wanted) GROUP BY ALL ORDER BY ALL
    """).fetchall()
    old = stored.get("work") if stored and not replay else None
    path = store.fetch([old], scratch)[0] if old and store.exists(old) else None
    target = scratch / "work.parquet"
    refs = units.group(con, engine.cost_s, spec.unit_items, path, target)
    work = f"plan/work-{secrets.token_hex(6)}.parquet"
    if not dry:
        if refs:
            store.upload(target, work)
        body = {
            "wavemill": 1,
            "spec": spec.model_dump(mode="json"),
            "engine": engine.name,
            "engine_version": engine.version,
            "source_version": taken.source_version,
            "rows": taken.rows,
            "snapshot": snapshot_name,
            "work": work if refs else None,
        }
        store.write(plan_name(spec.shard), json.dumps(body, indent=1, ensure_ascii=False).encode())
    weight = con.execute("SELECT coalesce(sum(s.weight), 0) FROM wanted w JOIN snapshot s ON s.index = w.index").fetchone()
    return Plan(
        spec=spec,
        rows=taken.rows,
        done=sum(count for status, _, count in counted if status == "done"),
        failed={code: count for status, code, count in counted if status != "done"},
        refused=taken.refused,
        wanted=wanted,
        weight=float(weight[0]) if weight else 0.0,
        cost_s=sum(ref.cost_s for ref in refs),
        refs=refs,
        work=work,
        models=sorted(taken.models),
        option_columns=taken.option_columns,
        carried_columns=taken.carried_columns,
        warnings=taken.warnings,
    )


def _save_snapshot(con: duckdb.DuckDBPyConnection, store: Store, scratch: Path, name: str) -> None:
    path = scratch / "snapshot.parquet"
    con.execute(f"COPY (SELECT * FROM snapshot ORDER BY index) TO {sql.literal(path)} (FORMAT parquet, COMPRESSION zstd)")
    store.upload(path, name)


def load_snapshot(con: duckdb.DuckDBPyConnection, store: Store, stored: dict[str, Any], scratch: Path) -> None:
    """View `snapshot` over the stored one."""
    if not store.exists(stored["snapshot"]):
        raise WavemillError("bad_usage", f"{store.path(stored['snapshot'])} is gone; `wavemill run` with its SOURCE makes it anew", "out")
    path = store.fetch([stored["snapshot"]], scratch)[0]
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW snapshot AS
        SELECT * FROM read_parquet({sql.file(path)}) UNION ALL BY NAME SELECT NULL::VARCHAR AS field WHERE false
    """)  # one that was stored before there was a `field` has none


def _share_snapshot(
    con: duckdb.DuckDBPyConnection, spec: PipelineSpec, taken: snapshots.Snapshot, store: Store, scratch: Path, name: str, dry: bool
) -> str:
    """All shards work on the snapshot that the first one stored."""
    assert spec.shard
    engine = spec.new_engine()
    mine = {
        "shards": spec.shard[1],
        "source_version": taken.source_version,
        "engine": f"{engine.name} {engine.version}",
        **spec.model_dump(mode="json", include={"options", "columns", "split", "limit", "check_inputs"}),
        "snapshot": name,
    }
    if read_stored(store):
        raise WavemillError("bad_usage", f"{store.url} holds a whole run; go on without --shard, or give another OUT", "shard")
    if not read_stored(store, SHARDS):
        if dry:
            return name
        _save_snapshot(con, store, scratch, name)
        if store.create(SHARDS, json.dumps(mine).encode()):
            return name
        store.remove([name])
    first = read_stored(store, SHARDS)
    assert first
    others = [field for field, value in mine.items() if field != "snapshot" and first.get(field) != value]
    if others:
        detail = f"{store.url} is being filled by {first['shards']} shards, and this one differs in {', '.join(others)}; give the same, or another OUT"
        raise WavemillError("bad_usage", detail, "shard")
    con.execute("DROP TABLE snapshot")
    load_snapshot(con, store, first, scratch)
    return str(first["snapshot"])


def _refuse_shrinking(spec: PipelineSpec, store: Store, rows: int) -> None:
    from pipelines.batch.publish import published_rows

    published = published_rows(store)
    if rows < published and not spec.allow_shrink:
        raise WavemillError(
            "bad_usage",
            f"SOURCE has {rows} rows, but {published} are published in {store.url}; give --allow-shrink if that is meant",
            "source",
        )
