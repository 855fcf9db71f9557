"""What the README tells a newcomer to type works as it stands, and the demo is good enough to listen to."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import wavemill
from transforms import codec, loudness

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


ELSEWHERE = ("wavemill stream", "wavemill run synthesize s3://bucket/lines.jsonl")
"""Lines that need what a machine does not have by itself; each has a test of its own."""


def type_in(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    return subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def line_of(start: str) -> str:
    (line,) = (line for block in BLOCKS for line in block.splitlines() if line.startswith(start))
    return line


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_block_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for block in BLOCKS:
        if block.startswith("SELECT"):
            with duckdb.connect() as con:
                rows = con.sql(block.replace("'out/", f"'{tmp_path}/out/")).fetchall()
            assert [row[1] for row in rows] == ["done"] * 22
            assert {row[4] for row in rows} == {"af_bella", "am_michael"}
        elif block.startswith("make"):
            assert {line.split()[1] for line in block.splitlines()} <= TARGETS
        else:
            for line in block.splitlines():
                if line.startswith("wavemill") and not line.startswith(ELSEWHERE):
                    done = type_in(line, tmp_path)
                    assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert "hello there" in (tmp_path / "hello.srt").read_text().lower()
    assert len(list((tmp_path / "out" / "files").iterdir())) == 22
    story = codec.decode(tmp_path / "out" / "story.mp3", None, None, 3600.0)
    assert loudness.measure(story).lufs == pytest.approx(-16, abs=0.5)


@pytest.mark.slow
def test_the_stream_of_the_readme_answers_a_message(kafka_server: str, tmp_path: Path) -> None:
    pytest.importorskip("kafka", reason="the extra kafka is not installed")
    from benchmarks.topics import Stream

    line = line_of(ELSEWHERE[0])
    (tmp_path / "call.mp3").write_bytes(wavemill.synthesize("Hello there, how are you today?", voice="af_bella").data)
    topics = Stream(kafka_server, f"readme-{os.getpid()}", tmp_path)
    here = {"calls": topics.input, "texts": topics.output, "failed": topics.failures, "asr": topics.group}
    here |= {"s3://bucket/texts/": str(tmp_path / "texts"), "kafka:9092": kafka_server}
    assert set(here) <= set(shlex.split(line))
    command = [sys.executable, "-c", "import wavemill; wavemill.main()", *(here.get(word, word) for word in shlex.split(line)[1:])]
    topics.send([json.dumps({"version": 1, "inputs": {"audio": str(tmp_path / "call.mp3")}}).encode()])
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        (reply,) = topics.replies(1)
        assert (reply["status"], reply["topic"]) == ("done", topics.output), (tmp_path / "log").read_text()
        assert "hello" in reply["fields"]["text"].lower()
        worker.terminate()
        assert worker.wait(60) == 0
    finally:
        worker.kill()


def test_the_cluster_line_of_the_readme_is_understood_and_says_that_its_cluster_is_not_here(tmp_path: Path) -> None:
    done = type_in(line_of(ELSEWHERE[1]), tmp_path)
    assert done.returncode == 3
    assert "no Beam job server answers at flink-jobs:8099" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_speaks_joins_and_understands_its_story_well_enough() -> None:
    done = subprocess.run([sys.executable, "examples/demo.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"word error rate ([\d.]+)%", done.stdout)
    assert found and float(found[1]) <= 3
