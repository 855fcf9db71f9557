"""Units: what is wanted, how it is cut, and that an untouched unit stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from pipelines.batch import snapshot, units
from pipelines.spec import PipelineSpec
from sinks import parts
from transforms.records import Failure, Item, Outcome, Result
from transforms.store import Store


@pytest.fixture
def con(tmp_path: Path):  # type: ignore[no-untyped-def]
    with snapshot.connect(tmp_path) as connection:
        yield connection


def plan(
    con: duckdb.DuckDBPyConnection, folder: Path, texts: list[str], unit_items: int = 3, stored: Path | None = None, name: str = "work"
) -> list[units.Ref]:
    source = folder / "m.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    spec = PipelineSpec(operation="synthesize", source=str(source), out=str(folder / "out"), engine="echo")
    con.execute("DROP TABLE IF EXISTS snapshot")
    snapshot.take(con, spec, spec.new_engine(), folder)
    parts.view(con, Store(spec.out), folder)
    units.find_wanted(con, None, replay=False)
    return units.group(con, 0.01, unit_items, stored, folder / f"{name}.parquet")


def keys_of(path: Path, ref: units.Ref) -> list[str]:
    found: list[str] = pq.ParquetFile(path).read_row_group(ref.group).slice(ref.offset, ref.rows).column("key").to_pylist()
    return found


def commit(folder: Path, path: Path, ref: units.Ref, outcome: Outcome) -> None:
    rows = pq.ParquetFile(path).read_row_group(ref.group).slice(ref.offset, ref.rows).to_pylist()
    items = [Item(row["key"], row["id"], "synthesize", "echo", None, {}) for row in rows]  # type: ignore[arg-type]
    Store(str(folder / "out")).write(parts.name(ref.unit, ref.n), parts.encode(items, [outcome] * len(items), [0.0] * len(items), ref.n))


def test_every_wanted_key_is_in_exactly_one_unit_and_equal_rows_are_one_key(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    refs = plan(con, tmp_path, ["a", "b", "c", "a", "d", "e", "f", "a"])
    keys = [key for ref in refs for key in keys_of(tmp_path / "work.parquet", ref)]
    assert len(keys) == len(set(keys)) == 6
    assert all(ref.rows <= 3 for ref in refs)


def test_an_item_longer_than_a_unit_stands_alone_and_comes_first(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    refs = plan(con, tmp_path, ["short", "x" * 4000, "y" * 5000, "brief"], unit_items=100)
    assert [ref.rows for ref in refs] == [1, 1, 2]
    assert [ref.cost_s for ref in refs] == sorted((ref.cost_s for ref in refs), reverse=True)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=50), st.integers(1, 10))
def test_cutting_keeps_every_row_in_order_within_both_limits(weights: list[float], unit_items: int) -> None:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t AS SELECT unnest(?) AS weight, generate_subscripts(?, 1) AS i", [weights, weights])
        tables = list(units._cut(con.sql("SELECT * FROM t ORDER BY i"), 1.0, unit_items))
    assert [weight for table in tables for weight in table.column("weight").to_pylist()] == weights
    for table in tables:
        assert 0 < table.num_rows <= unit_items
        assert table.num_rows == 1 or sum(table.column("weight").to_pylist()) <= units.UNIT_S


def test_what_has_an_outcome_is_not_planned_again_and_untouched_units_keep_their_shape(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    texts = [f"text {index}" for index in range(9)]
    first = plan(con, tmp_path, texts)
    work = tmp_path / "work.parquet"
    commit(tmp_path, work, first[0], Result())
    again = plan(con, tmp_path, texts, stored=work, name="again")
    assert {ref.unit for ref in again} == {ref.unit for ref in first[1:]}
    for ref in again:
        old = next(one for one in first if one.unit == ref.unit)
        assert keys_of(tmp_path / "again.parquet", ref) == keys_of(work, old) and ref.n == old.n == 0


def test_a_unit_that_lost_a_row_is_grouped_anew(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    texts = [f"text {index}" for index in range(6)]
    first = plan(con, tmp_path, texts)
    again = plan(con, tmp_path, texts[:5], stored=tmp_path / "work.parquet", name="again")
    assert sum(ref.rows for ref in again) == 5
    assert len({ref.unit for ref in first} & {ref.unit for ref in again}) == 1


def test_item_failures_count_as_done_and_transient_ones_come_back_a_try_later(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    texts = [f"text {index}" for index in range(6)]
    first, second = plan(con, tmp_path, texts)
    work = tmp_path / "work.parquet"
    commit(tmp_path, work, first, Failure("engine_error", "bad"))
    commit(tmp_path, work, second, Failure("input_changed", "moved"))
    (again,) = plan(con, tmp_path, texts, stored=work, name="again")
    assert (again.n, again.rows) == (1, 3)
    assert keys_of(tmp_path / "again.parquet", again) == keys_of(work, second)


def test_shards_part_the_keys_without_overlap(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    plan(con, tmp_path, [f"text {index}" for index in range(200)])
    counts = [units.find_wanted(con, (index, 4), replay=False) for index in range(4)]
    assert sum(counts) == 200 and min(counts) > 20


def test_a_unit_taken_apart_has_its_items_one_by_one_a_try_later(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (ref,) = plan(con, tmp_path, ["a", "b", "c"])
    alone = units.single(tmp_path / "work.parquet", ref, tmp_path / "alone.parquet", 0.01)
    assert [(one.rows, one.n) for one in alone] == [(1, 1)] * 3
    assert {key for one in alone for key in keys_of(tmp_path / "alone.parquet", one)} == set(keys_of(tmp_path / "work.parquet", ref))
