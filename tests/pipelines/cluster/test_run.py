"""Runs on a real Flink cluster of two hosts, with real S3: the same results as a local run, whatever dies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.hosts import Place

from .conftest import interrupt, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.java, pytest.mark.timeout(600)]


def lines(number: int) -> list[dict[str, Any]]:
    return [{"id": f"i{index}", "text": f"line number {index}."} for index in range(number)]


def test_sixty_items_on_two_hosts_are_what_a_local_run_makes_of_them(place: Place) -> None:
    place.write([*lines(58), {"id": "bad", "text": "this one fails"}, {"id": "empty", "text": ""}])
    flags = ("--unit-items", "4", "-O", "fail_on=fails", "--max-failures", "5")
    started = [place.hosts.health(host)["started"] for host in (1, 2)]
    summary = place.run(*flags)
    assert (summary["state"], summary["done"], summary["made"]) == ("done", 58, 60), summary
    assert summary["failed"] == {"engine_error": 1, "empty_text": 1} and summary["published"]
    assert "was not tried" not in summary["said"], "the pair of Beam's versions is among the tested ones"
    assert all(place.hosts.health(host)["started"] > before for host, before in zip((1, 2), started, strict=True))
    local = f"{place.base}/local"
    assert place.run(*flags, out=local, cluster=False)["done"] == 58
    assert place.results() == place.results(local)
    assert place.run(*flags)["made"] == 0
    assert not place.files("cluster")


def test_real_speech_and_real_transcripts_are_those_of_a_local_run(place: Place) -> None:
    texts = ["Good morning from a cluster.", "The second sentence is spoken on another host.", "And here is a third one.", "The end."]
    place.write([{"id": f"s{index}", "text": text} for index, text in enumerate(texts)])
    flags = ("--unit-items", "1", "--format", "wav")
    spoken = place.run(*flags, engine="kokoro")
    local = f"{place.base}/local"
    assert spoken["done"] == place.run(*flags, engine="kokoro", out=local, cluster=False)["done"] == 4, spoken
    assert place.results() == place.results(local)
    place.source = f"{place.base}/spoken.jsonl"
    place.write([{"id": row["id"], "audio": row["uri"]} for row in place.manifest()])
    place.out, local = f"{place.base}/heard", f"{place.base}/heard-locally"
    flags = ("--unit-items", "2", "-O", "model=tiny.en")
    heard = place.run(*flags, operation="transcribe", engine="faster-whisper")
    assert heard["done"] == place.run(*flags, operation="transcribe", engine="faster-whisper", out=local, cluster=False)["done"] == 4, heard
    assert place.results() == place.results(local)
    assert "cluster" in place.results()[0][0]["text"]


def test_what_was_begun_here_goes_on_on_the_cluster_and_the_other_way_about(place: Place) -> None:
    place.write(lines(24))
    flags = ("--unit-items", "2", "-O", "delay_s=0.5")
    driver = place.start(*flags, cluster=False)
    wait_for(lambda: len(place.parts()) >= 2, "the local run commits nothing")
    driver.kill()
    driver.communicate()
    here = place.committed()
    driver = place.start(*flags)
    wait_for(lambda: len(place.parts().keys() - here.keys()) >= 2, "the cluster commits nothing")
    driver.kill()
    driver.communicate()
    there = place.committed()
    # the job that was left behind is ended by whoever comes next
    summary = place.run(*flags, cluster=False)
    assert summary["state"] == "done" and summary["done"] == 24, summary
    wait_for(lambda: set(place.hosts.jobs().values()) == {"FINISHED"}, "the job that was left goes on")
    after = place.committed()
    assert {name: after[name] for name in there} == there and len(there) > len(here)
    assert len(place.keys()) == len(set(place.keys())) == 24


def test_ctrl_c_ends_the_job_and_the_same_command_goes_on(place: Place) -> None:
    place.write(lines(90))
    flags = ("--unit-items", "2", "-O", "delay_s=1")
    driver = place.start(*flags)
    wait_for(place.parts, "nothing is committed")
    jobs = [job for job, state in place.hosts.jobs().items() if state == "RUNNING"]
    status = [sys.executable, "-P", "-m", "wavemill", "status", place.out, "--json"]
    said = subprocess.run(status, env=place.hosts.environment(), capture_output=True, text=True, check=True, timeout=60).stdout
    told = json.loads(said)["counts"]
    assert (told["rows"], told["failed"]) == (90, {}) and 0 < told["done"] < 90 and told["missing"] == 90 - told["done"], told
    code, said = interrupt(driver)
    assert code == 130 and "the same command again goes on" in said
    assert jobs and [place.hosts.jobs()[job] for job in jobs] == ["FINISHED"]
    before = place.committed()
    summary = place.run(*flags)
    after = place.committed()
    assert summary["done"] == 90 and {name: after[name] for name in before} == before


@pytest.mark.parametrize("victim", ["worker", "engine", "pool1", "tasks1", "server", "jobs"])
def test_a_run_ends_right_after_a_kill_of(victim: str, place: Place) -> None:
    hosts = place.hosts
    place.write(lines(32))
    flags = ("--unit-items", "2", "-O", "delay_s=0.5")
    driver = place.start(*flags)
    wait_for(place.parts, "nothing is committed")
    before = place.committed()
    if victim in ("worker", "engine"):
        worker = psutil.Process(hosts.workers()[0]["pid"])
        (worker.children() or [worker] if victim == "engine" else [worker])[0].kill()
    else:
        hosts.restart(victim)
    said, told = driver.communicate(timeout=250)
    summary = json.loads(said.splitlines()[-1])
    if summary["state"] == "error":  # says how to resume, and then ends right
        assert "the same command" in summary["detail"], (summary, told)
        summary = place.run(*flags)
    assert summary["state"] == "done" and summary["done"] == 32, (summary, told)
    after = place.committed()
    assert len(place.keys()) == len(set(place.keys())) == 32
    assert {name: after[name] for name in before} == before


def test_an_item_that_kills_its_worker_too_fails_and_the_others_are_done(place: Place) -> None:
    place.write(lines(12))
    summary = place.run("--unit-items", "3", "-O", "crash_on=number 7.", "-O", "crash_parent=true", "--max-failures", "5")
    assert summary["failed"] == {"engine_crashed": 1} and summary["done"] == 11, summary
    assert [row["id"] for row in place.manifest() if row["code"] == "engine_crashed"] == ["i7"]


def test_a_manifest_that_changes_during_a_run_is_the_next_one_s_matter(place: Place) -> None:
    place.write(lines(12))
    flags = ("--unit-items", "2", "-O", "delay_s=0.3")
    driver = place.start(*flags)
    wait_for(place.parts, "nothing is committed")
    place.write([{"id": "new", "text": "a new line."}, *lines(13)])
    said, told = driver.communicate(timeout=250)
    summary = json.loads(said.splitlines()[-1])
    assert (summary["state"], summary["done"]) == ("done", 12), (summary, told)
    assert [row["id"] for row in place.manifest()] == [f"i{index}" for index in range(12)]
    assert (summary := place.run(*flags))["made"] == 2 and summary["done"] == 14, summary


@pytest.mark.parametrize(
    ("key_id", "secret", "why"),
    [("somebody", "wrong", "permission denied"), ("", "", "Unable to locate credentials")],
    ids=["wrong", "missing"],
)
def test_workers_whose_credentials_are_no_good_end_the_run_in_bounds_and_their_logs_tell_why(
    key_id: str, secret: str, why: str, place: Place
) -> None:
    place.write(lines(4))
    variables = {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}
    place.hosts.restart("pool1", "pool2", **variables)
    try:
        wait_for(place.hosts.whole, "the pools are not ready")
        summary = place.run("--unit-items", "2", patience_s=20)
    finally:
        place.hosts.restart("pool1", "pool2")
    assert summary["code"] == "cluster_unavailable" and not place.parts(), summary
    assert "its workers die at start or cannot write to OUT, which their logs tell" in summary["detail"], summary
    logs = [log.read_text(errors="replace") for log in Path(place.hosts.cluster.folder).glob("pool*/worker-*.log")]
    assert any(why in log and place.out in log for log in logs)
    wait_for(place.hosts.whole, "the cluster is not whole")
    assert place.run("--unit-items", "2")["done"] == 4


DYING = """
import sys
if "pipelines.cluster.worker" in sys.orig_argv:
    sys.exit("the driver of the device is too old")
"""


def test_workers_that_die_at_start_end_the_run_in_bounds_with_the_pool_and_their_last_words(place: Place, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(DYING)
    place.write(lines(4))
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
    place.hosts.restart("pool1", "pool2", PYTHONPATH=path)
    try:
        wait_for(place.hosts.whole, "the pools are not ready")
        summary = place.run("--unit-items", "2", timeout_s=300)
    finally:
        place.hosts.restart("pool1", "pool2")
    assert summary["code"] == "cluster_failed" and not place.parts(), summary
    assert "the driver of the device is too old" in summary["detail"] and "localhost:50000" in summary["detail"], summary


def test_a_missing_pool_ends_the_run_soon_with_its_name(place: Place) -> None:
    place.write(lines(4))
    summary = place.run("--pool", "localhost:50999", patience_s=30)
    assert summary["code"] in ("cluster_failed", "cluster_unavailable") and "localhost:50999" in summary["detail"], summary


def test_a_cluster_without_a_free_slot_is_waited_for_in_bounds_and_named(place: Place) -> None:
    place.write(lines(4))
    summary = place.run("--beam-option", "parallelism=9", patience_s=20)
    assert summary["code"] == "cluster_unavailable" and "has no free slot" in summary["detail"], summary
