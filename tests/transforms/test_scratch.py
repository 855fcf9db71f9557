"""Folders of commands, and what a killed one leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from transforms.scratch import PREFIX, temporary_folder

HOLD = "import sys, time; from transforms.scratch import temporary_folder\nwith temporary_folder() as f: (f/'big').write_text('x'); print(f, flush=True); time.sleep(60)"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_goes_with_its_command(temporary: Path) -> None:
    with temporary_folder() as folder:
        (folder / "a").mkdir()
        assert folder.parent == temporary
    assert not list(temporary.glob(f"{PREFIX}*"))


def test_what_a_killed_command_left_goes_with_the_next_one_and_what_a_living_one_holds_stays(temporary: Path) -> None:
    holders = [
        subprocess.Popen([sys.executable, "-c", HOLD], env={"TMPDIR": str(temporary)}, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    folders = [Path(holder.stdout.readline().strip()) for holder in holders if holder.stdout]
    assert all(folder.is_dir() for folder in folders)
    holders[0].send_signal(signal.SIGKILL)
    holders[0].wait()
    with temporary_folder() as mine:
        assert sorted(temporary.glob(f"{PREFIX}*")) == sorted([folders[1], mine])
        assert (folders[1] / "big").exists()
    for holder in holders:
        holder.kill()
        holder.communicate()
