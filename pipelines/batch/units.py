"""Work units: what one commit covers. Which rows are wanted, how they are grouped, and the file that workers read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from transforms import sql
from transforms.errors import CODES

UNIT_S = 30.0
"""Estimated compute seconds of a unit: what a kill can cost."""

ROW_GROUP = 4096
RETRIED = tuple(code for code, (kind, _, _) in CODES.items() if kind != "item")


class Ref(NamedTuple):
    """A unit as the runner passes it around: its name and try, and where its rows stand in the work file."""

    unit: str
    n: int
    group: int
    offset: int
    rows: int
    cost_s: float


def find_wanted(con: duckdb.DuckDBPyConnection, shard: tuple[int, int] | None, replay: bool) -> int:
    """Table `wanted`: the keys of `snapshot` with no success and no item failure (`replay`: no success) in `winners`."""
    final = "w.status = 'done'" if replay else f"(w.status = 'done' OR w.code NOT IN {RETRIED!r})"
    mine = shard_filter(shard)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE wanted AS
        SELECT key, min(index) AS index FROM snapshot s
        WHERE code IS NULL AND {mine} AND NOT EXISTS (SELECT 1 FROM winners w WHERE w.key = s.key AND {final})
        {"AND EXISTS (SELECT 1 FROM winners w WHERE w.key = s.key)" if replay else ""}
        GROUP BY key
    """)
    found = con.execute("SELECT count(*) FROM wanted").fetchone()
    return int(found[0]) if found else 0


def shard_filter(shard: tuple[int, int] | None) -> str:
    """SQL for the keys of a shard: equal keys meet in one."""
    return f"('0x' || left(key, 12))::UBIGINT % {shard[1]} = {shard[0]}" if shard else "true"


def group(con: duckdb.DuckDBPyConnection, cost_s: float, unit_items: int, stored: Path | None, target: Path) -> list[Ref]:
    """Write the units over `wanted` to the work file `target`; longest first.

    A unit of the `stored` work file is kept as it was when all its keys are wanted and none has an outcome, so that its
    batches, and with them its bytes, are those of the first try.
    """
    inputs = [
        name for (name,) in con.execute("SELECT column_name FROM (DESCRIBE snapshot) WHERE starts_with(column_name, 'in_')").fetchall()
    ]
    columns = ", ".join(["key", "id", *inputs, "options", "weight"])
    kept = "SELECT NULL::VARCHAR AS key WHERE false"
    if stored:
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE kept AS
            WITH old AS (SELECT unit, key FROM read_parquet({sql.file(stored)}))
            SELECT unit FROM old LEFT JOIN (SELECT key, 1 AS yes FROM wanted) w USING (key)
                LEFT JOIN (SELECT DISTINCT key, 1 AS tried FROM parts) p USING (key)
            GROUP BY unit HAVING count(yes) = count(*) AND count(tried) = 0
        """)
        kept = f"SELECT key FROM read_parquet({sql.file(stored)}) SEMI JOIN kept USING (unit)"
    writer = _Writer(target, cost_s)
    if stored:
        writer.add_all(
            con.sql(
                f"SELECT unit, n, {columns} FROM read_parquet({sql.file(stored)}, file_row_number=true) SEMI JOIN kept USING (unit) ORDER BY file_row_number"
            )
        )
    fresh = con.sql(f"""
        WITH tries AS (SELECT key, max(n) + 1 AS n FROM parts GROUP BY key)
        SELECT coalesce(t.n, 0)::INTEGER AS n, {", ".join("s." + c for c in columns.split(", "))}
        FROM wanted w JOIN snapshot s ON s.index = w.index LEFT JOIN tries t ON t.key = w.key
        WHERE w.key NOT IN ({kept})
        ORDER BY s.options, s.weight DESC, s.index
    """)
    for table in _cut(fresh, cost_s, unit_items):
        keys = table.column("key").to_pylist()
        unit = hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
        writer.add(unit, max(table.column("n").to_pylist()), table)
    return writer.close()


def single(stored: Path, ref: Ref, target: Path, cost_s: float) -> list[Ref]:
    """The items of a unit as units of one item each, a try later: how the one that kills its process is found."""
    rows = pq.ParquetFile(stored).read_row_group(ref.group).slice(ref.offset, ref.rows)
    writer = _Writer(target, cost_s)
    for index in range(rows.num_rows):
        row = rows.slice(index, 1)
        key = row.column("key")[0].as_py()
        writer.add(hashlib.sha256(key.encode()).hexdigest()[:32], ref.n + 1, row.drop_columns(["unit", "n"]))
    return writer.close()


def _cut(rows: duckdb.DuckDBPyRelation, cost_s: float, unit_items: int) -> Iterator[pa.Table]:
    """Slices of consecutive rows, each about `UNIT_S` of compute or `unit_items` rows; a longer item stands alone."""
    pending: list[pa.RecordBatch] = []
    count, seconds = 0, 0.0
    for batch in rows.to_arrow_reader(65_536):
        start = 0
        for index, weight in enumerate(batch.column("weight").to_pylist()):
            cost = weight * cost_s
            if count and (seconds + cost > UNIT_S or count >= unit_items):
                yield pa.Table.from_batches([*pending, batch.slice(start, index - start)])
                pending, start, count, seconds = [], index, 0, 0.0
            count += 1
            seconds += cost
        pending.append(batch.slice(start))
    if count:
        yield pa.Table.from_batches(pending)


class _Writer:
    """Whole units into row groups of about `ROW_GROUP` rows."""

    def __init__(self, target: Path, cost_s: float) -> None:
        self.target, self.cost_s = target, cost_s
        self.file: pq.ParquetWriter | None = None
        self.refs: list[Ref] = []
        self.pending: list[pa.Table] = []
        self.rows, self.group = 0, 0

    def add(self, unit: str, n: int, rows: pa.Table) -> None:
        rows = rows.drop_columns(["n"]) if "n" in rows.column_names else rows
        count = rows.num_rows
        cost = sum(rows.column("weight").to_pylist()) * self.cost_s
        self.refs.append(Ref(unit, n, self.group, self.rows, count, round(cost, 3)))
        tagged = rows.add_column(0, "unit", pa.array([unit] * count)).add_column(1, "n", pa.array([n] * count, pa.int32()))
        self.pending.append(tagged)
        self.rows += count
        if self.rows >= ROW_GROUP:
            self._write()

    def add_all(self, rows: duckdb.DuckDBPyRelation) -> None:
        """Rows that have `unit` and `n` already, each unit's together."""
        held: pa.Table | None = None
        for batch in rows.to_arrow_reader(65_536):
            table = pa.Table.from_batches([batch])
            table = pa.concat_tables([held, table]) if held is not None else table
            names = table.column("unit").to_pylist()
            start = 0
            for index in range(1, len(names)):
                if names[index] != names[start]:
                    self._add_tagged(table.slice(start, index - start))
                    start = index
            held = table.slice(start)
        if held is not None and held.num_rows:
            self._add_tagged(held)

    def _add_tagged(self, rows: pa.Table) -> None:
        self.add(rows.column("unit")[0].as_py(), rows.column("n")[0].as_py(), rows.drop_columns(["unit", "n"]))

    def _write(self) -> None:
        if not self.pending:
            return
        table = pa.concat_tables(self.pending)
        if self.file is None:
            self.file = pq.ParquetWriter(self.target, table.schema, compression="zstd")
        self.file.write_table(table.cast(self.file.schema), row_group_size=table.num_rows)
        self.pending, self.rows = [], 0
        self.group += 1

    def close(self) -> list[Ref]:
        self._write()
        if self.file:
            self.file.close()
        return sorted(self.refs, key=lambda ref: -ref.cost_s)
