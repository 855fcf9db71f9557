"""Cleaning: only what nobody needs goes, and what is published stays as it was."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.batch import clean, plan as plans, run as runs
from pipelines.batch.lease import DRIVER, Lease
from transforms.errors import WavemillError

from .conftest import SETTINGS, Runner

NOW_S = -1.0
"""A limit that even what was written a moment ago is older than."""


def write(runner: Runner, count: int) -> None:
    runner.write([{"id": f"i{index}", "text": f"sentence number {index}"} for index in range(count)])


def age(path: str | Path, days: float) -> None:
    then_s = time.time() - days * 86_400
    os.utime(path, (then_s, then_s))


def everything(runner: Runner) -> dict[str, tuple[int, str]]:
    return {entry.url: (entry.bytes, entry.version) for entry in runner.store.entries("") if not entry.url.startswith("leases/")}


def test_only_blobs_that_nobody_names_go_and_the_published_rows_are_as_before(anywhere: Runner) -> None:
    write(anywhere, 6)
    anywhere.run(options={"speed": 1.5})
    old = anywhere.blobs()
    anywhere.run()
    rows, blobs = anywhere.manifest(), anywhere.blobs()
    done = clean.clean(anywhere.out, SETTINGS, young_s=NOW_S)
    assert (done["blobs"], done["bytes"]) == (6, sum(map(len, old.values())))
    assert anywhere.blobs() == {name: data for name, data in blobs.items() if name not in old} and len(anywhere.blobs()) == 6
    assert anywhere.manifest() == rows
    runs.publish(anywhere.out, SETTINGS)
    assert anywhere.manifest() == rows, "nor does publishing again change them"


def test_parts_become_one_and_the_plan_is_left_with_the_present_snapshot(anywhere: Runner) -> None:
    write(anywhere, 9)
    anywhere.run(options={"speed": 1.5})
    anywhere.run()
    done = clean.clean(anywhere.out, SETTINGS)
    assert (done["parts"], done["plans"]) == (6, 2) and len(anywhere.store.entries("parts")) == 1
    stored = plans.require_stored(anywhere.store)
    assert {entry.url for entry in anywhere.store.entries("plan")} == {"plan/plan.json", stored["snapshot"], stored["work"]}
    assert anywhere.run().made == 0, "what was done is still known to be"
    assert clean.clean(anywhere.out, SETTINGS)["blobs"] == 0 and len(anywhere.store.entries("parts")) == 1


def test_an_orphan_goes_only_when_it_is_older_than_a_day(runner: Runner) -> None:
    write(runner, 4)
    runner.run(options={"speed": 1.5})
    old = [row["uri"] for row in runner.manifest()]
    runner.run()
    for path, days in zip(old, (0, 0.9, 1.1, 30), strict=True):
        age(path, days)
    for row in runner.manifest():
        age(row["uri"], 30)
    assert clean.clean(runner.out, SETTINGS)["blobs"] == 2
    assert [Path(path).exists() for path in old] == [True, True, False, False]
    assert all(Path(row["uri"]).exists() for row in runner.manifest())


def test_old_temporary_files_go_too(runner: Runner) -> None:
    write(runner, 2)
    runner.run()
    half, fresh = Path(runner.out) / "blobs" / "x.wav.1-2.tmp", Path(runner.out) / "blobs" / "y.wav.1-2.tmp"
    half.write_bytes(b"half")
    fresh.write_bytes(b"half")
    age(half, 2)
    clean.clean(runner.out, SETTINGS)
    assert (half.exists(), fresh.exists()) == (False, True)


def test_a_dry_run_tells_the_same_and_removes_nothing(runner: Runner) -> None:
    write(runner, 5)
    runner.run(options={"speed": 1.5})
    runner.run()
    before = everything(runner)
    told = clean.clean(runner.out, SETTINGS, dry=True, young_s=NOW_S)
    assert everything(runner) == before
    assert told == clean.clean(runner.out, SETTINGS, young_s=NOW_S) and told["blobs"] == 5


def test_failures_and_their_tries_outlive_it(runner: Runner) -> None:
    flag = runner.folder / "crash"
    flag.write_text("")
    write(runner, 3)
    runner.run(options={"crash_on": "number 1", "crash_if": str(flag)})
    rows = runner.manifest()
    clean.clean(runner.out, SETTINGS, young_s=NOW_S)
    runs.publish(runner.out, SETTINGS)
    assert runner.manifest() == rows and [row["code"] for row in rows] == [None, "engine_crashed", None]
    flag.unlink()
    assert runner.replay().done == 3 and runner.manifest()[1]["attempts"] == rows[1]["attempts"] + 1


def test_what_is_published_stays_whole_while_a_run_with_other_options_is_unfinished(runner: Runner) -> None:
    write(runner, 4)
    runner.run()
    rows = runner.manifest()
    other: dict[str, Any] = {"options": {"fail_on": "number 3"}, "unit_items": 1}
    assert not runner.run(**other, fail_fast=True).published
    done = len(runner.blobs()) - 4
    assert clean.clean(runner.out, SETTINGS, young_s=NOW_S)["blobs"] == 0
    assert runner.manifest() == rows and all(Path(row["uri"]).exists() for row in rows)
    assert runner.run(**other, max_failures="1").made == 3 - done, "and so does what it has done already"
    assert clean.clean(runner.out, SETTINGS, young_s=NOW_S)["blobs"] == 4


def test_an_out_that_somebody_works_on_is_left_alone(runner: Runner) -> None:
    write(runner, 2)
    runner.run()
    (runner.folder / "out" / "blobs" / "orphan.wav").write_bytes(b"x")
    before = everything(runner)
    for lease in (DRIVER, "leases/shard-1-of-2.json"):
        with Lease(runner.store, lease, 60), pytest.raises(WavemillError) as caught:
            clean.clean(runner.out, SETTINGS, young_s=NOW_S)
        assert caught.value.code == "lease_held" and everything(runner) == before
    assert clean.clean(runner.out, SETTINGS, young_s=NOW_S)["blobs"] == 1 and not runner.store.entries("leases")


def test_an_out_that_is_not_published_or_none_at_all_is_refused(runner: Runner, tmp_path: Path) -> None:
    write(runner, 2)
    plans.make(runner.spec(), SETTINGS, runner.store, tmp_path)
    before = everything(runner)
    with pytest.raises(WavemillError, match="no published manifest") as caught:
        clean.clean(runner.out, SETTINGS, young_s=NOW_S)
    assert caught.value.code == "bad_usage" and everything(runner) == before
    with pytest.raises(WavemillError, match="no OUT of wavemill"):
        clean.clean(str(tmp_path / "elsewhere"), SETTINGS)
