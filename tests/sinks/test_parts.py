"""Part files: what is committed is read back as it was, and of several outcomes for one key it is clear which counts."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings, strategies as st

from sinks import parts
from transforms.errors import CODES
from transforms.records import Failure, Item, Outcome, Result, Stored
from transforms.store import Store

Rows = list[dict[str, Any]]
COLUMNS = ("duration_s", "text", "language")


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def items(count: int) -> list[Item]:
    return [Item(f"{n:064x}", f"r{n}", "synthesize", "echo", None, {}) for n in range(count)]  # type: ignore[arg-type]


def commit(store: Store, part: str, outcomes: dict[int, Outcome], n: int = 0) -> None:
    """Write the part named `part` over items by their number, with a blob for every output that is not called `gone`."""
    every = items(max(outcomes) + 1)
    for outcome in outcomes.values():
        for output in outcome.outputs.values() if isinstance(outcome, Result) else ():
            if output.name != "gone":
                store.write(output.uri, b"x")
    data = parts.encode([every[index] for index in outcomes], list(outcomes.values()), [0.25] * len(outcomes), n)
    store.write(f"parts/{part}.parquet", data)


def stored(name: str, duration_s: float | None = None) -> Stored:
    return Stored(name, f"blobs/00/{name}.wav", "wav", 1, "5ha", duration_s)


def select(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    found: Rows = con.sql(query).to_arrow_table().to_pylist()
    return found


def test_an_out_without_parts_has_no_rows(con: duckdb.DuckDBPyConnection, out: str, tmp_path: Path) -> None:
    parts.view(con, Store(out), tmp_path)
    assert select(con, "SELECT * FROM parts") == select(con, "SELECT * FROM winners") == []


def test_parts_on_any_storage_are_read_under_their_names(con: duckdb.DuckDBPyConnection, out: str, tmp_path: Path) -> None:
    store = Store(out)
    commit(store, "u-0", {0: Result({"text": "hi"}, {"audio": stored("audio", 2.0)}), 1: Failure("engine_error", "no", "text")})
    commit(store, "u-1", {0: Result(), 1: Failure("engine_error", "again")}, n=1)
    store.write("parts/notes.txt", b"not a part")
    parts.view(con, store, tmp_path / "scratch")
    rows = select(con, "SELECT part, n, status, code, duration_s, text, seconds FROM parts ORDER BY part, key")
    assert [tuple(row.values()) for row in rows] == [
        ("u-0.parquet", 0, "done", None, 2.0, "hi", 0.25),
        ("u-0.parquet", 0, "failed", "engine_error", None, None, 0.25),
        ("u-1.parquet", 1, "done", None, None, None, 0.25),
        ("u-1.parquet", 1, "failed", "engine_error", None, None, 0.25),
    ]


@pytest.mark.parametrize("name", ["Bob's [new] ta*kes? é", "back\\slash", 'the "last" one'])
def test_a_folder_may_be_called_anything(con: duckdb.DuckDBPyConnection, tmp_path: Path, name: str) -> None:
    store = Store(str(tmp_path / name))
    commit(store, "u-0", {0: Result()})
    parts.view(con, store, tmp_path)
    assert len(select(con, "SELECT * FROM winners")) == 1


letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([math.inf, math.nan])
    | letters
    | st.lists(letters, max_size=2)
)
seconds = st.none() | st.floats(0, 1e6)
outputs = st.lists(
    st.builds(Stored, letters, letters, letters, st.integers(0, 1 << 40), letters, seconds), max_size=3, unique_by=lambda o: o.name
)
results = st.builds(
    lambda fields, known, made: Result({**fields, **known}, {output.name: output for output in made}),
    st.dictionaries(letters.filter(lambda name: name not in COLUMNS), values, max_size=3),
    st.fixed_dictionaries({}, optional={"duration_s": st.floats(0, 1e6), "text": letters, "language": letters}),
    outputs,
)
failures = st.builds(Failure, st.sampled_from(list(CODES)), letters, st.none() | letters.filter(bool))


@given(st.lists(results | failures, min_size=1, max_size=5))
@settings(max_examples=50)
def test_outcomes_are_read_back_as_they_were(outcomes: list[Outcome]) -> None:
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        store = Store(folder)
        store.write(parts.name("u", 3), parts.encode(items(len(outcomes)), outcomes, [1.0] * len(outcomes), 3))
        parts.view(con, store, Path(folder))
        rows = select(con, "SELECT * FROM parts ORDER BY key")
    for item, outcome, row in zip(items(len(outcomes)), outcomes, rows, strict=True):
        fields = json.loads(row["fields"] or "{}", parse_constant=pytest.fail)
        assert not set(COLUMNS) & set(fields)
        assert (row["key"], row["n"], row["part"]) == (item.key, 3, "u-3.parquet")
        if isinstance(outcome, Failure):
            assert (row["status"], row["code"], row["detail"], fields.get("field")) == (
                "failed",
                outcome.code,
                outcome.detail,
                outcome.field,
            )
            assert not row["outputs"]
        else:
            own = [name for name in COLUMNS if name in outcome.fields]
            back = Result({**fields, **{name: row[name] for name in own}}, {o["name"]: Stored(**o) for o in row["outputs"]})
            finite = {
                name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in outcome.fields.items()
            }
            assert (row["status"], back) == ("done", Result(finite, outcome.outputs))
            lengths = [output.duration_s for output in outcome.outputs.values()]
            assert row["duration_s"] == outcome.fields.get("duration_s", lengths[0] if lengths else None)


tries = st.tuples(st.sampled_from("uv"), st.integers(0, 11))
made = st.sampled_from(["done", "failed", "gone", "cut"])


@given(st.dictionaries(tries, st.dictionaries(st.integers(0, 2), made, min_size=1), max_size=6))
@settings(max_examples=60)
def test_of_several_outcomes_a_success_that_is_there_whole_wins_the_first_by_name_and_else_the_latest_failure(
    history: dict[tuple[str, int], dict[int, str]],
) -> None:
    every = items(3)
    known: dict[str, list[tuple[Any, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        store = Store(folder)
        for (unit, n), told in history.items():
            part = f"{unit}-{n}"
            outcomes: dict[str, Outcome] = {
                "done": Result({}, {"audio": stored("audio"), part: stored(part)}),
                "gone": Result({}, {"audio": stored("audio"), "gone": stored("gone")}),
                "cut": Result({}, {"cut": replace(stored("cut"), bytes=2)}),
                "failed": Failure("engine_error", "no"),
            }
            commit(store, part, {index: outcomes[what] for index, what in told.items()}, n)
            for index, what in told.items():
                if what not in ("gone", "cut"):
                    order = (0, f"{part}.parquet", 0) if what == "done" else (1, "", -n)
                    known.setdefault(every[index].key, []).append((*order, f"{part}.parquet", what, n))
        parts.view(con, store, Path(folder))
        found = {row["key"]: row for row in select(con, "SELECT * FROM winners")}
    assert {key: (row["part"], row["status"], row["n"]) for key, row in found.items()} == {key: min(of)[3:] for key, of in known.items()}
    assert all((row["code"] is None) == (row["status"] == "done") for row in found.values())


def test_an_outcome_for_each_item_or_nothing_is_written() -> None:
    with pytest.raises(ValueError, match="shorter"):
        parts.encode(items(2), [Result()], [0.0, 0.0], 0)
