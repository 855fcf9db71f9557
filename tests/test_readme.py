"""What the README tells a newcomer to type works as it stands, and the demo is good enough to listen to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from transforms import codec, loudness

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def type_in(lines: list[str], folder: Path) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))}
    for line in lines:
        done = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"


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
            type_in([line for line in block.splitlines() if line.startswith("wavemill")], tmp_path)
    assert "hello there" in (tmp_path / "hello.srt").read_text().lower()
    assert len(list((tmp_path / "out" / "files").iterdir())) == 22
    story = codec.decode(tmp_path / "out" / "story.mp3", None, None, 3600.0)
    assert loudness.measure(story).lufs == pytest.approx(-16, abs=0.5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_speaks_joins_and_understands_its_story_well_enough() -> None:
    done = subprocess.run([sys.executable, "examples/demo.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"word error rate ([\d.]+)%", done.stdout)
    assert found and float(found[1]) <= 3
