"""The measurement of many rows measures what a run does: the same parts, all rows planned and published."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import overhead, scale
from sinks import parts
from transforms.records import Item, Result, Stored


def test_its_parts_are_what_a_worker_writes() -> None:
    keys = [f"{n:064x}"[::-1] for n in range(5)]
    items = [Item(key, "x", "synthesize", "echo", None, {}) for key in keys]  # type: ignore[arg-type]
    outputs = [Stored("audio", f"blobs/{key[:2]}/{key}-{key[::-1][:12]}.wav", "wav", 0, key[::-1], 0.1) for key in keys]
    written = parts.encode(items, [Result({"duration_s": 0.1}, {"audio": output}) for output in outputs], [0.0] * 5, 0)
    found = pq.read_table(io.BytesIO(written))
    made = pq.read_table(io.BytesIO(parts.to_bytes(overhead.done_rows(pa.array(keys)))))
    assert made.equals(found)
    assert made.schema.equals(found.schema, check_metadata=True)


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_planned_submitted_and_published_within_bounds(tmp_path: Path) -> None:
    steps = {step.name: step for step in scale.measure(tmp_path, 100_000)}
    said = [step.said for step in steps.values()]
    assert said[0] == "100000 items wanted, 500 units"
    assert said[-1] == "0 items wanted, 0 units"
    assert len(list((tmp_path / "out/parts").iterdir())) == 500
    with duckdb.connect() as con:
        found = con.sql(f"SELECT count(*), count(DISTINCT key), min(status), max(status) FROM '{tmp_path}/out/manifest.parquet'").fetchall()
    assert found == [(100_000, 100_000, "done", "done")]
    assert max(step.peak_mb for step in steps.values()) < 1_000
    units, size = steps["the pipeline as it is submitted"].said.removesuffix(" bytes").split(" units, ")
    assert int(size) < 30_000 + 200 * int(units), "references, not the items themselves"
