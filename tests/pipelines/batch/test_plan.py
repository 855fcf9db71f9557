"""A plan: what there is to do and why, said before it is done, and the same again until it is done."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.batch import plan as plans, publish
from pipelines.batch.plan import Plan
from sinks import parts
from transforms.errors import WavemillError
from transforms.records import Failure, Item, Outcome, Result

from .conftest import SETTINGS, Runner


def plan(runner: Runner, dry: bool = False, **fields: Any) -> Plan:
    with tempfile.TemporaryDirectory() as scratch:
        return plans.make(runner.spec(**fields), SETTINGS, runner.store, Path(scratch), dry=dry)


def keys_of(runner: Runner, made: Plan) -> dict[str, list[str]]:
    """The keys of each unit that the plan stored, units in the order they will be worked."""
    local = runner.folder / "work.parquet"
    local.write_bytes(runner.store.read(made.work) or b"")
    file = pq.ParquetFile(local)
    return {ref.unit: file.read_row_group(ref.group).slice(ref.offset, ref.rows).column("key").to_pylist() for ref in made.refs}


def flat(units: dict[str, list[str]]) -> list[str]:
    return [key for unit in units.values() for key in unit]


def commit(runner: Runner, made: Plan, outcomes: list[Outcome]) -> None:
    """A part with these outcomes for the first keys of the plan."""
    keys = flat(keys_of(runner, made))[: len(outcomes)]
    items = [Item(key, "", "synthesize", "echo", None, {}) for key in keys]  # type: ignore[arg-type]
    runner.store.write(parts.name("f" * 32, 0), parts.encode(items, outcomes, [0.0] * len(items), 0))


def everything(runner: Runner) -> list[tuple[str, str]]:
    return [(entry.url, entry.version) for entry in runner.store.entries("")]


MIXED: list[dict[str, Any] | str] = [
    {"text": "one"},
    {"text": "three"},
    {"text": "one"},
    {"text": "x", "voice": "nobody"},
    "not json",
    {"text": "seventeen"},
    {"text": "two", "speed": 9},
    {"text": "thousands"},
]


def test_rows_are_counted_by_what_becomes_of_them(anywhere: Runner) -> None:
    anywhere.write(MIXED)
    first = plan(anywhere)
    assert (first.rows, first.done, first.failed, first.wanted) == (8, 0, {}, 4), "two rows are one key"
    assert first.refused == {"unknown_voice": 1, "bad_row": 1, "bad_option": 1}
    assert (first.weight, sum(ref.rows for ref in first.refs)) == (len("onethreeseventeenthousands"), 4)
    assert first.cost_s == pytest.approx(first.weight * 0.0001, abs=0.001)
    commit(anywhere, first, [Failure("engine_error", "no"), Failure("input_unavailable", "later"), Result(), Result()])
    second = plan(anywhere)
    assert (second.done, second.failed) == (3, {"engine_error": 1}), "the shortest text is that of two rows"
    assert (second.wanted, [ref.n for ref in second.refs]) == (1, [1]), "and what may pass is tried again"
    assert second.rows == second.done + 1 + sum(second.refused.values()) + second.wanted


def test_a_dry_plan_tells_the_same_and_writes_nothing(anywhere: Runner) -> None:
    anywhere.write(MIXED)
    told = plan(anywhere, dry=True)
    assert plan(anywhere, dry=True, shard="0/2").rows == 8 and everything(anywhere) == []
    stored = plan(anywhere)
    assert (told.rows, told.refused, told.wanted, told.refs) == (stored.rows, stored.refused, stored.wanted, stored.refs)
    publish.publish(anywhere.store, partial=True)
    before = everything(anywhere)
    anywhere.write(MIXED[:3])
    assert plan(anywhere, dry=True).rows == 3 and everything(anywhere) == before
    with pytest.raises(WavemillError, match="--allow-shrink"):
        plan(anywhere)
    assert everything(anywhere) == before


def test_a_column_is_an_input_an_option_or_carried_and_one_that_is_nearly_an_option_is_told(runner: Runner) -> None:
    runner.write(
        [{"id": "a", "text": "x", "speed": 1.5, "voice": "echo1", "spead": 1, "author": "me", "duration_s": 3}, {"text": "y", "seed": 7}]
    )
    made = plan(runner, dry=True)
    assert set(made.option_columns) == {"speed", "voice", "seed"}
    assert sorted(made.carried_columns) == ["author", "spead"]
    (warning,) = made.warnings
    assert "'spead'" in warning and "did you mean speed" in warning


def test_a_column_that_names_engines_is_told_to_name_none(runner: Runner) -> None:
    runner.write([{"text": "x", "engine": "cosyvoice2"}])
    (warning,) = plan(runner, dry=True).warnings
    assert "'engine'" in warning and "-e" in warning


def test_columns_may_have_other_names(runner: Runner) -> None:
    runner.write([{"no": 5, "sentence": "hello", "speaker": "echo1", "note": "x"}, {"no": 6, "sentence": "hello", "speaker": "echo2"}])
    made = plan(runner, columns={"id": "no", "text": "sentence", "voice": "speaker"})
    assert (made.wanted, made.carried_columns, made.refused) == (2, ["note"], {}), "two voices are two keys"
    assert made.option_columns == ["speaker"]


def test_a_column_whose_place_another_one_takes_is_carried(runner: Runner) -> None:
    runner.write([{"text": "a title", "sentence": "hello", "voice": "not one of ours", "speaker": "echo1"}])
    made = plan(runner, columns={"text": "sentence", "voice": "speaker"}, dry=True)
    assert (sorted(made.carried_columns), made.option_columns, made.refused, made.warnings) == (["text", "voice"], ["speaker"], {}, [])


@pytest.mark.parametrize("columns", [{"text": "sentense"}, {"loudnes": "sentence"}])
def test_a_column_or_option_that_there_is_not_is_refused_with_what_is_near(runner: Runner, columns: dict[str, str]) -> None:
    runner.write([{"sentence": "hello"}])
    with pytest.raises(WavemillError) as caught:
        plan(runner, columns=columns)
    assert caught.value.code == "bad_usage" and next(iter(columns.items()))[0] in caught.value.detail and not everything(runner)


def test_a_limit_takes_the_first_rows(runner: Runner) -> None:
    runner.write([{"text": f"number {index}"} for index in range(10)])
    limited, whole = plan(runner, limit=3), plan(runner)
    assert (limited.rows, limited.wanted, whole.rows, whole.wanted) == (3, 3, 10, 10)
    assert plan(runner, dry=True, limit=99).rows == 10


def test_the_longest_come_first_and_every_key_is_in_one_unit(runner: Runner) -> None:
    runner.write([{"text": "word " * (1 + 37 * index % 20), "speed": 1 + index // 20 / 10} for index in range(40)])
    made = plan(runner)
    costs = [ref.cost_s for ref in made.refs]
    assert costs == sorted(costs, reverse=True) and len(set(costs)) > 3
    keys = flat(keys_of(runner, made))
    assert len(keys) == len(set(keys)) == made.wanted == 40


def test_shards_part_the_keys_and_equal_rows_meet_in_one(runner: Runner) -> None:
    rows: list[dict[str, Any] | str] = [{"text": f"number {index % 50}"} for index in range(60)]
    runner.write(rows)
    shards = [plan(runner, shard=f"{index}/3") for index in range(3)]
    found = [flat(keys_of(runner, made)) for made in shards]
    whole = Runner(runner.folder, runner.out + "-whole")
    keys = set(flat(keys_of(whole, plan(whole))))
    assert sum(map(len, found)) == 50 and set().union(*found) == keys and min(map(len, found)) > 5
    assert [made.rows for made in shards] == [60] * 3
    assert len([entry for entry in runner.store.entries("plan") if "snapshot" in entry.url]) == 1, "they share the first one's snapshot"


def test_a_second_plan_keeps_the_units_of_an_unfinished_first_one(anywhere: Runner) -> None:
    rows: list[dict[str, Any] | str] = [{"text": f"a sentence of number {index}"} for index in range(10)]
    anywhere.write(rows)
    first = keys_of(anywhere, plan(anywhere))
    assert keys_of(anywhere, plan(anywhere)) == first
    anywhere.write([{"text": "one that is much longer than all the others"}, *rows, {"text": "short"}])
    grown = keys_of(anywhere, plan(anywhere))
    assert {unit: grown[unit] for unit in first} == first
    assert [len(keys) for unit, keys in grown.items() if unit not in first] == [2]


def test_a_unit_that_has_an_outcome_or_lost_a_row_is_grouped_anew(runner: Runner) -> None:
    rows: list[dict[str, Any] | str] = [{"text": f"number {index}"} for index in range(8)]
    runner.write(rows)
    made = plan(runner)
    first = keys_of(runner, made)
    commit(runner, made, [Failure("input_unavailable", "later")])
    assert sorted(ref.n for ref in plan(runner, dry=True).refs) == [0, 1], "a part of the first try is there already"
    commit(runner, made, [Failure("engine_error", "no")])
    again = keys_of(runner, plan(runner))
    assert len(first.keys() & again.keys()) == 1, "the one that nothing is known of"
    assert sorted(flat(again)) == sorted(flat(first)[1:])
    runner.write(rows[:2])
    assert not set(keys_of(runner, plan(runner))) & {*first, *again}


def test_other_options_plan_everything_anew(runner: Runner) -> None:
    runner.write([{"text": f"number {index}"} for index in range(5)])
    first, other = keys_of(runner, plan(runner)), keys_of(runner, plan(runner, options={"speed": 1.5}))
    assert not set(flat(first)) & set(flat(other))
    assert keys_of(runner, plan(runner)) == first, "and back again"
