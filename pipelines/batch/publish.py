"""Publishing: snapshot and parts joined, in input order, into `manifest.parquet`. It appears last, whole, or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batch import plan as plans, snapshot as snapshots
from sinks import parts
from transforms import sql
from transforms.errors import WavemillError
from transforms.scratch import temporary_folder
from transforms.storage import filesystem
from transforms.store import Store

MANIFEST = "manifest.parquet"
FAILURES = "failures.jsonl"


@dataclass(slots=True)
class Counts:
    """Rows of a snapshot by what became of them."""

    rows: int
    done: int
    missing: int
    failed: dict[str, int] = field(default_factory=dict)
    audio_s: float = 0.0

    @property
    def failures(self) -> int:
        return sum(self.failed.values())

    def plus(self, other: Counts) -> Counts:
        """Of both together."""
        failed = {code: self.failed.get(code, 0) + other.failed.get(code, 0) for code in sorted({*self.failed, *other.failed})}
        return Counts(self.rows + other.rows, self.done + other.done, self.missing + other.missing, failed, self.audio_s + other.audio_s)


def published_rows(store: Store) -> int:
    """Rows of the published manifest; 0 where there is none."""
    if not store.exists(MANIFEST):
        return 0
    try:
        if store.local:
            return int(pq.read_metadata(store.local / MANIFEST).num_rows)
        with filesystem(store.url).open(store.path(MANIFEST), "rb") as file:
            return int(pq.read_metadata(file).num_rows)
    except pa.ArrowInvalid:
        return 0  # what cannot be read is not published


def open_outcomes(con: duckdb.DuckDBPyConnection, store: Store, scratch: Path) -> None:
    """A view `outcomes`: each row of the stored snapshot with the row that won for its key, if any."""
    plans.load_snapshot(con, store, plans.require_stored(store), scratch)
    parts.view(con, store, scratch)
    base = store.url.replace("'", "''")
    con.execute(f"""
        CREATE OR REPLACE TEMP VIEW outcomes AS
        SELECT s.index::BIGINT AS index, s.id, s.key,
               CASE WHEN s.code IS NOT NULL THEN 'failed' WHEN p.key IS NULL THEN 'missing' ELSE p.status END AS status,
               '{base}/' || p.outputs[1].uri AS uri,
               list_transform(p.outputs, lambda o: struct_pack(name := o.name, uri := '{base}/' || o.uri, format := o.format,
                              bytes := o.bytes, sha256 := o.sha256, duration_s := o.duration_s)) AS outputs,
               p.duration_s, p.text, p.language, coalesce(s.code, p.code) AS code, coalesce(s.detail, p.detail) AS detail,
               (p.n + 1)::INTEGER AS attempts,
               coalesce(CASE WHEN s.field IS NOT NULL THEN json_object('field', s.field)::VARCHAR END, p.fields) AS fields,
               CASE WHEN json_valid(s.input) THEN s.input ELSE to_json(s.input)::VARCHAR END AS input
        FROM snapshot s LEFT JOIN (SELECT parts.* FROM parts SEMI JOIN winners USING (key, part)) p ON p.key = s.key
    """)


def count(con: duckdb.DuckDBPyConnection) -> Counts:
    """Counts over the rows of the stored snapshot."""
    found = con.execute("""
        SELECT CASE WHEN s.code IS NOT NULL THEN 'failed' ELSE coalesce(w.status, 'missing') END AS status,
               coalesce(s.code, w.code) AS code, count(*) FROM snapshot s LEFT JOIN winners w USING (key) GROUP BY 1, 2 ORDER BY 2
    """).fetchall()
    (audio,) = con.execute("""
        SELECT coalesce(sum(duration_s), 0) FROM parts SEMI JOIN winners USING (key, part) SEMI JOIN snapshot USING (key) WHERE status = 'done'
    """).fetchall()
    return Counts(
        rows=sum(n for _, _, n in found),
        done=sum(n for status, _, n in found if status == "done"),
        missing=sum(n for status, _, n in found if status == "missing"),
        failed={code: n for status, code, n in found if status == "failed"},
        audio_s=float(audio[0]),
    )


def publish(store: Store, partial: bool = False) -> Counts:
    """Write `failures.jsonl`, then `manifest.parquet`. Raises `incomplete` while a row has no outcome, unless `partial`."""
    with temporary_folder() as scratch, snapshots.connect(scratch) as con:
        open_outcomes(con, store, scratch)
        counts = count(con)
        if counts.missing and not partial:
            raise WavemillError(
                "incomplete",
                f"{counts.missing} of {counts.rows} rows have no outcome yet ({counts.done} done, {counts.failures} failed);"
                " run again to finish them, or publish with --partial",
            )
        _write(con, store, scratch)
    return counts


def _write(con: duckdb.DuckDBPyConnection, store: Store, scratch: Path) -> None:
    manifest, failures = scratch / MANIFEST, scratch / FAILURES
    con.execute(
        f"COPY (SELECT * FROM outcomes ORDER BY index) TO {sql.literal(manifest)} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{wavemill_manifest: '1'}})"
    )
    rows = con.sql(
        f"SELECT index, id, code, detail, fields->>'$.field' AS field, attempts, input FROM read_parquet({sql.file(manifest)}) WHERE status = 'failed' ORDER BY index"
    )
    with failures.open("w", encoding="utf-8") as file:
        for batch in rows.to_arrow_reader(8192):
            for row in batch.to_pylist():
                file.write(json.dumps(_failure(row), ensure_ascii=False) + "\n")
    store.upload(failures, FAILURES)
    store.upload(manifest, MANIFEST)


def _failure(row: dict[str, Any]) -> dict[str, Any]:
    """A line of `failures.jsonl`: the original columns and ours; where they share a name the original ones stand under `input`."""
    if row["field"] is None:
        del row["field"]
    try:
        given = json.loads(row.pop("input") or "{}")  # of a line that is not even text nothing is kept
    except RecursionError:
        return {**row, "row": "nested too deeply to be shown"}
    original = given if isinstance(given, dict) else {"row": given}
    clash = (original.keys() & row.keys()) - {"id"}
    return {**({"input": original} if clash else original), **row}
