"""A run from its manifest to what is published, and every way it can be interrupted and gone on with."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pipelines.batch import run as runs, supervise
from pipelines.supervised import Control
from sinks import parts
from transforms.errors import WavemillError
from transforms.records import Failure, Item

from .conftest import SETTINGS, Heard, Runner


def texts(count: int) -> list[dict[str, Any] | str]:
    return [{"id": f"i{index}", "text": f"sentence number {index}", "note": index} for index in range(count)]


def test_every_row_is_published_in_input_order_with_what_it_carried(anywhere: Runner) -> None:
    anywhere.write(texts(10))
    summary = anywhere.run()
    rows = anywhere.manifest()
    assert (summary.exit_code, summary.done, summary.published) == (0, 10, True)
    assert [row["id"] for row in rows] == [f"i{index}" for index in range(10)]
    assert [json.loads(row["input"])["note"] for row in rows] == list(range(10))
    assert all(row["status"] == "done" and row["attempts"] == 1 and row["duration_s"] == pytest.approx(0.1) for row in rows)
    for row in rows:
        (output,) = row["outputs"]
        data = anywhere.store.read(row["uri"][len(anywhere.store.url) + 1 :])
        assert data is not None and output["uri"] == row["uri"] and len(data) == output["bytes"]
        assert output["sha256"][:12] in row["uri"] and row["key"] in row["uri"]


def test_running_again_makes_nothing_anew(anywhere: Runner) -> None:
    anywhere.write(texts(6))
    anywhere.run()
    before = anywhere.manifest()
    summary = anywhere.run()
    assert (summary.made, summary.done) == (0, 6)
    assert anywhere.manifest() == before


def test_equal_rows_are_made_once_and_published_each(runner: Runner) -> None:
    runner.write([{"text": "same"}, {"text": "other"}, {"text": "same"}])
    summary = runner.run()
    rows = runner.manifest()
    assert (summary.made, summary.done, summary.rows) == (2, 3, 3)
    assert rows[0]["uri"] == rows[2]["uri"] != rows[1]["uri"]
    assert [row["id"] for row in rows] == ["r0", "r1", "r2"]


def test_new_rows_alone_are_made(runner: Runner) -> None:
    runner.write(texts(5))
    runner.run()
    runner.write(texts(8))
    assert runner.run().made == 3
    assert [row["id"] for row in runner.manifest()] == [f"i{index}" for index in range(8)]


def test_other_options_redo_the_rows_and_leave_the_old_blobs(runner: Runner) -> None:
    runner.write(texts(3))
    runner.run()
    old = runner.blobs()
    assert runner.run(options={"speed": 1.5}).made == 3
    assert old.items() < runner.blobs().items()


def test_a_run_that_was_stopped_goes_on_where_it_stopped(runner: Runner) -> None:
    runner.write(texts(40))
    control = Control()
    first = runner.run(lambda event: control.stop("SIGINT") if "done" in event else None, control, options={"delay_s": 0.02})
    done = set(runner.heard.units)
    assert (first.exit_code, first.state) == (130, "interrupted") and 0 < len(done) < 10 and not first.published
    second = runner.run(options={"delay_s": 0.02})
    assert second.exit_code == 0 and second.done == 40
    assert not done & set(runner.heard.units), "no committed unit is computed twice"
    assert first.made + second.made == 40


def test_a_bad_item_is_a_failure_and_nothing_else_is_lost(runner: Runner) -> None:
    runner.write(texts(9))
    summary = runner.run(options={"raise_on": "number 5"}, unit_items=9)
    rows = runner.manifest()
    assert (summary.exit_code, summary.done, summary.failed) == (1, 8, {"engine_error": 1})
    assert [row["id"] for row in rows if row["status"] == "failed"] == ["i5"]
    (failure,) = [json.loads(line) for line in (runner.store.read("failures.jsonl") or b"").splitlines()]
    assert (failure["id"], failure["index"], failure["note"], failure["code"]) == ("i5", 5, 5, "engine_error")


def test_failures_within_the_limit_are_no_failure_of_the_run(runner: Runner) -> None:
    runner.write(texts(10))
    assert runner.run(options={"fail_on": "number 5"}, max_failures="10%").exit_code == 0
    assert runner.run(options={"fail_on": "number 5"}, max_failures="1").exit_code == 0
    assert runner.run(options={"fail_on": "number 5"}, max_failures="9%").exit_code == 1


def test_failing_fast_stops_unpublished(runner: Runner) -> None:
    runner.write(texts(60))
    summary = runner.run(options={"fail_on": "number", "delay_s": 0.01}, fail_fast=True)
    assert (summary.exit_code, summary.state, summary.published) == (1, "stopped", False)
    assert summary.missing > 0 and not runner.store.exists("manifest.parquet")


def test_an_item_failure_is_not_tried_again_by_run_but_by_replay(runner: Runner) -> None:
    flag = runner.folder / "crash"
    flag.write_text("")
    runner.write(texts(5))
    failing = {"crash_on": "number 3", "crash_if": str(flag)}
    assert runner.run(options=failing).failed == {"engine_crashed": 1}
    assert runner.run(options=failing).made == 0
    flag.unlink()
    summary = runner.replay()
    assert (summary.exit_code, summary.made, summary.done) == (0, 1, 5)
    (mended,) = [row for row in runner.manifest() if row["id"] == "i3"]
    assert mended["status"] == "done" and mended["attempts"] > 1


def test_a_piece_that_kills_its_process_three_times_fails_alone(runner: Runner) -> None:
    runner.write(texts(12))
    summary = runner.run(options={"crash_on": "number 7"})
    assert summary.failed == {"engine_crashed": 1} and summary.done == 11 and summary.deaths == 3
    assert [row["id"] for row in runner.manifest() if row["code"] == "engine_crashed"] == ["i7"]


def test_a_process_killed_once_is_started_again(runner: Runner) -> None:
    import psutil

    runner.write(texts(30))
    killed = []

    def kill(event: dict[str, Any]) -> None:
        if "done" in event and not killed:
            killed.extend(one for one in psutil.Process().children() if "pipelines.batch.child" in one.cmdline())
            os.kill(killed[0].pid, signal.SIGKILL)

    summary = runner.run(kill, options={"delay_s": 0.02})
    assert (summary.exit_code, summary.deaths, summary.done) == (0, 1, 30)
    assert len(runner.heard.units) == len(set(runner.heard.units))


def test_shards_share_a_snapshot_and_are_joined_by_publish(anywhere: Runner) -> None:
    rows = texts(20)
    anywhere.write([*rows, rows[3]])
    first = anywhere.run(shard="0/2")
    with pytest.raises(WavemillError) as caught:
        runs.publish(anywhere.out, SETTINGS)
    assert caught.value.code == "incomplete"
    second = anywhere.run(shard="1/2")
    assert not first.published and not second.published and first.made + second.made == 20
    counts = runs.publish(anywhere.out, SETTINGS)
    assert (counts.done, counts.missing) == (21, 0)
    assert [row["id"] for row in anywhere.manifest()] == [*(f"i{index}" for index in range(20)), "i3"]


def test_a_shard_of_another_source_or_count_is_refused(runner: Runner) -> None:
    runner.write(texts(6))
    runner.run(shard="0/2")
    with pytest.raises(WavemillError) as other_count:
        runner.run(shard="0/3")
    runner.write(texts(7))
    with pytest.raises(WavemillError) as other_source:
        runner.run(shard="1/2")
    with pytest.raises(WavemillError) as whole:
        runner.run()
    assert {other_count.value.code, other_source.value.code, whole.value.code} == {"bad_usage"}


def test_publishing_less_than_before_is_refused_unless_told(runner: Runner) -> None:
    runner.write(texts(6))
    runner.run()
    runner.write(texts(4))
    with pytest.raises(WavemillError) as caught:
        runner.run()
    assert caught.value.code == "bad_usage" and len(runner.manifest()) == 6
    assert runner.run(allow_shrink=True).rows == 4 and len(runner.manifest()) == 4


def test_an_out_of_another_operation_is_refused(runner: Runner) -> None:
    runner.write(texts(2))
    runner.run()
    with pytest.raises(WavemillError) as caught:
        runner.run(operation="transcribe", columns={"audio": "text"})
    assert caught.value.code == "bad_usage" and "synthesize" in caught.value.detail


def test_a_row_whose_blob_is_gone_is_made_again(runner: Runner) -> None:
    runner.write(texts(5))
    runner.run()
    lost = runner.manifest()[2]["uri"]
    Path(lost).unlink()
    summary = runner.run()
    assert (summary.made, summary.exit_code) == (1, 0)
    assert Path(lost).exists()


def test_a_late_twin_of_a_unit_changes_nothing(runner: Runner) -> None:
    runner.write(texts(3))
    runner.run()
    before = runner.manifest()
    row = before[1]
    item = Item(row["key"], row["id"], "synthesize", "echo", None, {})  # type: ignore[arg-type]
    runner.store.write(parts.name("0" * 32, 7), parts.encode([item], [Failure("engine_error", "late")], [0.0], 7))
    runs.publish(runner.out, SETTINGS)
    assert runner.manifest() == before, "a success beats a failure"


def test_of_two_failures_the_later_try_is_told(runner: Runner) -> None:
    runner.write(texts(3))
    runner.run(options={"fail_on": "number 1"})
    row = runner.manifest()[1]
    item = Item(row["key"], row["id"], "synthesize", "echo", None, {})  # type: ignore[arg-type]
    runner.store.write(parts.name("0" * 32, 7), parts.encode([item], [Failure("engine_error", "the later one")], [0.0], 7))
    runs.publish(runner.out, SETTINGS)
    assert runner.manifest()[1]["detail"] == "the later one" and runner.manifest()[1]["attempts"] == 8


def test_a_second_driver_is_refused_while_the_first_works(runner: Runner) -> None:
    runner.write(texts(12))
    refused: list[str] = []

    def second(event: dict[str, Any]) -> None:
        if "done" in event and not refused:
            with pytest.raises(WavemillError) as caught:
                runs.run(runner.spec(), SETTINGS, Heard(), Control())
            refused.append(caught.value.code)

    assert runner.run(second).exit_code == 0
    assert refused == ["lease_held"]


def test_a_worker_of_another_engine_version_refuses_the_unit(runner: Runner) -> None:
    from pipelines.batch import plan as plans, room

    runner.write(texts(3))
    spec = runner.spec()
    plan = plans.make(spec, SETTINGS, runner.store, runner.folder)
    data = runner.folder / "work.parquet"
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(data)
    table = table.set_column(table.schema.get_field_index("key"), "key", pa.array(["0" * 64] * 3))
    pq.write_table(table, data)
    runner.store.upload(data, plan.work)
    job = room.Job(runner.out, "synthesize", "echo", plan.work, SETTINGS)
    with pytest.raises(WavemillError) as caught:
        supervise.work(job, plan.refs, runner.store, runner.folder, Control(), lambda event: None)
    assert (caught.value.code, caught.value.kind) == ("work_mismatch", "system")


def test_the_record_of_a_run_holds_figures_and_versions_and_no_secret(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "tell-nobody")
    runner.write(texts(3))
    runner.run()
    text = (runner.store.read("run.json") or b"").decode()
    record = json.loads(text)
    assert record["done"] == 3 and record["versions"]["apache-beam"] and "tell-nobody" not in text
