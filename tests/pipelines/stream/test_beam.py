"""`wavemill stream --runner`: a job on a real portable runner (Prism), whose workers are killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.measure import ENVIRONMENT
from benchmarks.topics import Stream, claim, doubled, happens, wait_for
from pipelines.dev import process, services

NOTICED_S = 60.0
"""Prism was once seen not to notice that its worker was gone; then the command is stopped and started again."""


@pytest.fixture
def prism(tmp_path: Path) -> Iterator[str]:
    if shutil.which("go") is None:
        pytest.skip("Prism is built with the program go")
    running = services.start("prism", tmp_path / "prism", services.find_service("prism").choose_ports())
    yield f"127.0.0.1:{running.ports['job']}"
    process.stop(running, patience_s=1)


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Where workers are started for a runner, and its process."""
    port = process.choose_ports(["pool"])["pool"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # the pool starts whatever `python` it finds
    with open(tmp_path / "worker-pool.log", "wb") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"],
            env={**ENVIRONMENT, "PATH": path},
            stdout=log,
            stderr=log,
        )
    yield f"localhost:{port}", psutil.Process(started.pid)
    for child in psutil.Process(started.pid).children():
        child.kill()
    started.kill()
    started.wait()


@pytest.mark.slow
def test_each_message_has_one_outcome_though_the_workers_of_its_job_are_killed(
    stream: Stream, prism: str, pool: tuple[str, psutil.Process]
) -> None:
    count = 200
    stream.send([claim(f"line {index}", str(index), delay_s=0.02) for index in range(count)], keys=50)
    place = ["--beam-option", "environment_type=EXTERNAL", "--beam-option", f"environment_config={pool[0]}"]
    command = ["--max-poll", "8", "--runner", "portable", "--endpoint", prism, *place]
    driver = stream.start(*command)
    for read in (20, 60, 100):
        wait_for(lambda: sum(found.offset for found in stream.committed().values() if found) > read, 150)  # noqa: B023
        wait_for(pool[1].children, 150)
        for child in pool[1].children():
            child.kill()
        if happens(lambda: "submitted again" in stream.log(driver), NOTICED_S):  # noqa: B023
            break
        assert stream.stop(driver) == 0
        driver = stream.start(*command)
    replies = stream.replies(count, 150)
    assert doubled(replies) == []
    assert sorted(int(reply["id"]) for reply in replies) == list(range(count))
    assert {reply["status"] for reply in replies} == {"done"}
    assert "submitted again" in stream.log(driver)
    assert stream.stop(driver) == 0


def test_what_a_job_cannot_do_is_refused(stream: Stream) -> None:
    for flags, said in ((["--endpoint", "127.0.0.1:1", "--worker", "one"], "--worker"), ([], "--endpoint")):
        worker = stream.start("--runner", "portable", *flags)
        assert worker.wait(60) == 2
        assert said in stream.log(worker)


@pytest.mark.slow
def test_a_job_server_that_is_away_is_asked_again(stream: Stream) -> None:
    driver = stream.start("--runner", "portable", "--endpoint", "127.0.0.1:1", "--beam-option", "job_server_timeout=1")
    wait_for(lambda: stream.log(driver).count("was not taken") > 1, 150)
    assert stream.stop(driver) == 0
