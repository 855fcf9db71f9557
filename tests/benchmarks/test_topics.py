from __future__ import annotations

import subprocess

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.topics import Stream


def test_a_worker_that_ended_by_itself_this_moment_can_still_be_killed() -> None:
    worker = subprocess.Popen(["true"], start_new_session=True)
    assert worker.wait() == 0
    Stream.kill(worker)
    assert worker.returncode == 0
