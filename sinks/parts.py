"""Part files: a work unit's outcomes, written once and whole. The part is the commit."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import sql
from transforms.records import Failure, Item, Outcome, Result, Stored
from transforms.schemas import plain
from transforms.store import Store

OUTPUT = pa.struct(
    [
        ("name", pa.string()),
        ("uri", pa.string()),
        ("format", pa.string()),
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("duration_s", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("status", pa.string()),
        ("code", pa.string()),
        ("detail", pa.string()),
        ("outputs", pa.list_(OUTPUT)),
        ("duration_s", pa.float64()),
        ("text", pa.string()),
        ("language", pa.string()),
        ("fields", pa.string()),
        ("seconds", pa.float64()),
        ("n", pa.int32()),
    ],
    metadata={"wavemill.parts": "1"},
)
_NAMES = pa.schema([("name", pa.string()), ("bytes", pa.int64())])
_COLUMNS = ("duration_s", "text", "language")


def name(unit: str, n: int) -> str:
    return f"parts/{unit}-{n}.parquet"


def encode(items: Sequence[Item], outcomes: Sequence[Outcome], seconds: Sequence[float], n: int) -> bytes:
    """The part file of a unit; `seconds` is the compute time of each item."""
    rows = []
    for item, outcome, spent in zip(items, outcomes, seconds, strict=True):
        row: dict[str, object] = {"key": item.key, "seconds": round(spent, 4), "n": n}
        if isinstance(outcome, Failure):
            row |= {"status": "failed", "code": outcome.code, "detail": outcome.detail}
            if outcome.field:
                row["fields"] = json.dumps({"field": outcome.field})
        else:
            fields = dict(outcome.fields)
            row["status"] = "done"
            for column in _COLUMNS:
                row[column] = fields.pop(column, None)
            outputs = [
                {"name": o.name, "uri": o.uri, "format": o.format, "bytes": o.bytes, "sha256": o.sha256, "duration_s": o.duration_s}
                for o in outcome.outputs.values()
            ]
            row["outputs"] = outputs
            if row["duration_s"] is None and outputs:
                row["duration_s"] = outputs[0]["duration_s"]
            row["fields"] = json.dumps(plain(fields), ensure_ascii=False, sort_keys=True) if fields else None
        rows.append(row)
    return to_bytes(pa.Table.from_pylist(rows, schema=SCHEMA))


def to_bytes(rows: pa.Table) -> bytes:
    """A part file of rows that have `SCHEMA`."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, compression="zstd", write_statistics=False)
    return buffer.getvalue()


def join(files: Sequence[bytes]) -> bytes:
    """One part file of the rows of several, in their order."""
    buffer = io.BytesIO()
    table = pa.concat_tables([pq.read_table(io.BytesIO(data)) for data in files])
    pq.write_table(table.cast(SCHEMA), buffer, compression="zstd", write_statistics=False)
    return buffer.getvalue()


def report(data: bytes, ids: Sequence[str]) -> dict[str, Any]:
    """What a part file came to: items, failures by code, seconds of audio, and its slowest items. `ids` are its rows' ids."""
    rows = pq.read_table(io.BytesIO(data), columns=["code", "duration_s", "seconds", "status"]).to_pylist()
    failed = Counter(row["code"] for row in rows if row["status"] != "done")
    audio_s = sum(row["duration_s"] or 0.0 for row in rows if row["status"] == "done")
    slowest = sorted(zip((row["seconds"] for row in rows), ids, strict=True), reverse=True)[:5]
    return {"items": len(rows), "failed": dict(failed), "audio_s": round(audio_s, 3), "slowest": slowest}


def decode(row: Mapping[str, Any]) -> Outcome:
    """The outcome that a row of a part stands for."""
    fields = json.loads(row["fields"] or "{}")
    if row["status"] != "done":
        return Failure(row["code"], row["detail"], fields.get("field"))
    outputs = {one["name"]: Stored(**one) for one in row["outputs"] or ()}
    fields |= {column: row[column] for column in _COLUMNS if row[column] is not None}
    first = next(iter(outputs.values()), None)
    if first and first.duration_s is not None and first.duration_s == fields.get("duration_s"):
        del fields["duration_s"]
    return Result(fields, outputs)


def view(con: duckdb.DuckDBPyConnection, store: Store, scratch: Path) -> list[str]:
    """A view `parts` of every committed row, with `part` (the file's name), and a table `winners`: one of them for each key.

    Returns the part files that are cut short or garbage: nothing in them counts, and a run makes their units anew.
    """
    found = sorted(name for name, _ in store.sizes("parts") if name.endswith(".parquet"))
    paths = dict(zip(found, store.fetch(found, scratch), strict=True))
    broken = [name for name, path in paths.items() if not _whole(path)]
    if sound := [path for name, path in paths.items() if name not in broken]:
        files = ", ".join(map(sql.file, sound))
        con.execute(
            f"CREATE OR REPLACE TEMP VIEW parts AS SELECT *, parse_filename(filename) AS part FROM read_parquet([{files}], filename=true)"
        )
    else:
        con.register("no_parts", SCHEMA.empty_table())
        con.execute("CREATE OR REPLACE TEMP VIEW parts AS SELECT *, '' AS part FROM no_parts")
    con.register("blob_names", pa.RecordBatchReader.from_batches(_NAMES, _batches(store.sizes("blobs"))))
    # By digest, for a million names would fill the memory; and grouped, for which DuckDB uses the disk: joined, ten million do not fit.
    con.execute("""
        CREATE OR REPLACE TEMP TABLE missing AS
        SELECT digest, bytes FROM (
            SELECT md5_number(name) AS digest, bytes, true AS here FROM blob_names
            UNION ALL
            SELECT md5_number(o.uri), o.bytes, false FROM (SELECT unnest(outputs) AS o FROM parts WHERE status = 'done'))
        GROUP BY digest, bytes HAVING NOT bool_or(here)
    """)
    con.unregister("blob_names")
    # A success whose blob is gone, or of another size, is no success. Of two rows for a key a success beats a failure; of two successes the
    # first by part name wins, of two failures the later try.
    con.execute("""
        CREATE OR REPLACE TEMP TABLE gone AS
        SELECT DISTINCT key, part
        FROM (SELECT key, part, md5_number(o.uri) AS digest, o.bytes AS bytes FROM (SELECT key, part, unnest(outputs) AS o FROM parts WHERE status = 'done'))
        SEMI JOIN missing USING (digest, bytes)
        WHERE EXISTS (FROM missing)
    """)
    con.execute("DROP TABLE missing")
    con.execute("""
        CREATE OR REPLACE TEMP TABLE winners AS
        SELECT key, status, code, n, part FROM parts ANTI JOIN gone USING (key, part)
        QUALIFY row_number() OVER (
            PARTITION BY key ORDER BY status = 'done' DESC, CASE WHEN status = 'done' THEN part END, n DESC, part) = 1
    """)
    return broken


def _whole(path: Path) -> bool:
    try:
        pq.read_metadata(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def _batches(sizes: Iterator[tuple[str, int]]) -> Iterator[pa.RecordBatch]:
    while some := list(islice(sizes, 65_536)):
        names, numbers = zip(*some, strict=True)
        yield pa.record_batch([pa.array(names, pa.string()), pa.array(numbers, pa.int64())], schema=_NAMES)
