"""A short form of `make prove-resume`: a real engine's run, killed a few times."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import resume
from benchmarks.measure import WAVEMILL


@pytest.mark.slow
def test_a_run_that_was_killed_again_and_again_publishes_what_an_unbroken_one_does(tmp_path: Path) -> None:
    command = [*WAVEMILL, "run", "synthesize", str(resume.story(tmp_path, 3)), "-e", "piper", "--unit-items", "2", "--quiet"]
    found = resume.prove(command, tmp_path, kills=4, seed=1, least_s=2.0, most_s=4.0)
    assert found["kills"] >= 2
    assert found["rows"] == 66
    assert found["blobs"] == 66
    assert found["blobs_identical"] and found["rows_equal"]
    assert (found["items_committed_twice"], found["committed_units_touched_again"]) == (0, 0)
