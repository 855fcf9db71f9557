"""What is published: every row, in one literal schema, whole or not at all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from pipelines.batch import plan as plans, publish, run as runs, status
from pipelines.batch.lease import Lease
from transforms.errors import WavemillError, exit_code

from .conftest import SETTINGS, Runner

SCHEMA = {
    "index": "int64",
    "id": "string",
    "key": "string",
    "status": "string",
    "uri": "string",
    "outputs": "list<element: struct<name: string, uri: string, format: string, bytes: int64, sha256: string, duration_s: double>>",
    "duration_s": "double",
    "text": "string",
    "language": "string",
    "code": "string",
    "detail": "string",
    "attempts": "int32",
    "fields": "string",
    "input": "string",
}


def leave_unfinished(runner: Runner, tmp_path: Path, **fields: Any) -> None:
    """Plan what the manifest holds by now, and work none of it."""
    plans.make(runner.spec(**fields), SETTINGS, runner.store, tmp_path)


def failures(runner: Runner) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (runner.store.read("failures.jsonl") or b"").splitlines()]


def test_an_unfinished_out_is_refused_with_counts_and_what_was_published_stays(anywhere: Runner, tmp_path: Path) -> None:
    anywhere.write([{"text": "one"}, {"text": "bad"}])
    anywhere.run(options={"fail_on": "bad"})
    before = anywhere.store.read("manifest.parquet")
    anywhere.write([{"text": "one"}, {"text": "bad"}, {"text": "three", "voice": "nobody"}, {"text": "four"}, {"text": "five"}])
    leave_unfinished(anywhere, tmp_path, options={"fail_on": "bad"})
    with pytest.raises(WavemillError) as caught:
        runs.publish(anywhere.out, SETTINGS)
    assert caught.value.code == "incomplete" and exit_code(caught.value) == 3
    assert "2 of 5 rows have no outcome yet (1 done, 2 failed)" in caught.value.detail
    assert anywhere.store.read("manifest.parquet") == before and len(failures(anywhere)) == 1


def test_a_partial_manifest_says_which_rows_are_missing_and_a_later_run_replaces_it(anywhere: Runner, tmp_path: Path) -> None:
    anywhere.write([{"text": "one"}, {"text": "two"}, {"text": "three"}])
    anywhere.run(limit=1)
    leave_unfinished(anywhere, tmp_path)
    counts = runs.publish(anywhere.out, SETTINGS, partial=True)
    assert (counts.rows, counts.done, counts.missing, counts.failed) == (3, 1, 2, {})
    rows = anywhere.manifest()
    assert [row["status"] for row in rows] == ["done", "missing", "missing"] and not failures(anywhere)
    assert all((row["uri"], row["outputs"], row["code"], row["attempts"]) == (None,) * 4 and row["key"] for row in rows[1:])
    assert anywhere.run().made == 2 and [row["status"] for row in anywhere.manifest()] == ["done"] * 3


@pytest.mark.parametrize("texts", [["one", "bad"], []], ids=["with all there may be", "where nothing was done"])
def test_the_schema_is_literal_and_versioned(runner: Runner, tmp_path: Path, texts: list[str]) -> None:
    runner.write([*({"text": text} for text in texts), {"text": "x", "voice": "nobody"}])
    runner.run(options={"fail_on": "bad"})
    found = pq.read_schema(tmp_path / "out" / "manifest.parquet")
    assert {field.name: str(field.type) for field in found} == SCHEMA
    assert list(found.names) == list(SCHEMA) and found.metadata[b"wavemill_manifest"] == b"1"


ODD = ['{"id": "q", "text": "bad \\"quoted\\"", "note": {"a": [1, "é"]}}', "[1, 2]", '{"text": "unclosed']


def test_failures_hold_their_original_columns_and_what_went_wrong_in_input_order(runner: Runner) -> None:
    runner.write([*ODD, {"text": "good"}, {"text": "x", "voice": "nobody", "note": 7}])
    runner.run(options={"fail_on": "bad"})
    told = failures(runner)
    assert [row["index"] for row in told] == [0, 1, 2, 4]
    assert [row["code"] for row in told] == ["engine_error", "bad_row", "bad_row", "unknown_voice"]
    assert told[0] == {**json.loads(ODD[0]), "index": 0, "code": "engine_error", "detail": told[0]["detail"], "attempts": 1}
    assert (told[1]["row"], told[2]["row"]) == ([1, 2], ODD[2]) and (told[3]["note"], told[3]["attempts"]) == (7, None)
    assert [row.get("field") for row in told] == [None, None, None, "voice"]


def test_failures_are_themselves_a_source_once_mended(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "good"}, {"id": "b", "text": "bad", "note": "keep"}])
    runner.run(options={"fail_on": "bad"})
    runner.source = Path(runner.store.path("failures.jsonl"))
    again = Runner(runner.folder, runner.out + "-again")
    again.source = runner.source
    assert again.run().done == 1
    (row,) = again.manifest()
    assert (row["id"], json.loads(row["input"])["note"]) == ("b", "keep")


@pytest.mark.parametrize(("name", "text"), [("m.csv", b"text\nhello\nx,y\n"), ("m.jsonl", b'{"text": "hello"}\n{"text": "\xff"}\n')])
def test_a_line_that_is_no_row_at_all_is_published_as_its_failure(runner: Runner, name: str, text: bytes) -> None:
    runner.source = runner.folder / name
    runner.source.write_bytes(text)
    summary = runner.run()
    assert (summary.published, summary.done, summary.failed) == (True, 1, {"bad_row": 1})
    assert [row["code"] for row in runner.manifest()] == [None, "bad_row"]
    (told,) = failures(runner)
    assert (told["index"], told["code"]) == (1, "bad_row")


def test_any_column_of_the_original_row_is_read_out_of_input(runner: Runner, tmp_path: Path) -> None:
    runner.write([{"text": "one", "x": 'it\'s "x"', "deep": {"er": 3}}, {"text": "two"}, *ODD[1:]])
    runner.run()
    with duckdb.connect() as con:
        found = con.sql(f"SELECT input->>'x', input->>'$.deep.er' FROM '{tmp_path}/out/manifest.parquet' ORDER BY index").fetchall()
    assert found == [('it\'s "x"', "3"), (None, None), (None, None), (None, None)]


KILLED = """
import os, signal, sys
from pipelines.batch import publish
from transforms.store import Store

class Killed(Store):
    def upload(self, path, name):
        if name == publish.MANIFEST:
            os.kill(os.getpid(), signal.SIGKILL)
        super().upload(path, name)

publish.publish(Killed(sys.argv[1]), partial=True)
"""


def test_a_kill_between_the_failures_and_the_manifest_leaves_the_old_manifest_whole(anywhere: Runner, tmp_path: Path) -> None:
    anywhere.write([{"text": "one"}])
    anywhere.run()
    before = anywhere.store.read("manifest.parquet")
    anywhere.write([{"text": "one"}, {"text": "x", "voice": "nobody"}])
    leave_unfinished(anywhere, tmp_path)
    killed = subprocess.run([sys.executable, "-P", "-c", KILLED, anywhere.out], check=False)
    assert killed.returncode == -signal.SIGKILL and len(failures(anywhere)) == 1
    assert anywhere.store.read("manifest.parquet") == before
    assert publish.publish(anywhere.store).failures == 1 and len(anywhere.manifest()) == 2


def test_only_what_the_present_rows_made_is_counted(runner: Runner) -> None:
    runner.write([{"text": "one"}, {"text": "two"}, {"text": "two"}])
    runner.run()
    runner.run(options={"speed": 1.5})
    counts = status.status(runner.out, SETTINGS).counts
    assert (counts.rows, counts.done) == (3, 3) and counts.audio_s == pytest.approx(0.2)


def test_publishing_needs_an_out_that_nobody_works_on(runner: Runner) -> None:
    with pytest.raises(WavemillError) as caught:
        runs.publish(runner.out, SETTINGS)
    assert caught.value.code == "bad_usage"
    runner.write([{"text": "one"}])
    runner.run()
    with Lease(runner.store, "leases/shard-1-of-2.json", 60), pytest.raises(WavemillError) as caught:
        runs.publish(runner.out, SETTINGS)
    assert caught.value.code == "lease_held"
