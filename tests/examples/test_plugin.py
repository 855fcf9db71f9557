"""The example of an engine from outside: installed as a user installs it, found and run by the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in in it, installed from a copy, since a build writes beside its source, and without a network."""
    root = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, root / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    pip = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(root / "site"), str(root / "source")]
    done = subprocess.run([*pip, *offline], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return root / "site"


def wavemill(site: Path | None, *args: str) -> subprocess.CompletedProcess[str]:
    path = [str(site)] if site else []
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])}
    return subprocess.run(
        [sys.executable, "-P", "-m", "wavemill", *args], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_an_installed_plug_in_is_listed_after_our_own_engines(site: Path) -> None:
    rows = [row for row in json.loads(wavemill(site, "engines", "--json").stdout) if row["operation"] == "synthesize"]
    assert rows[0]["engine"] == "kokoro"
    assert (rows[-1]["engine"], rows[-1]["state"], rows[-1]["default"]) == ("sine", "installed", False)
    assert "sine" not in wavemill(None, "engines", "--json").stdout


def test_an_installed_plug_in_speaks_with_options_of_its_own(site: Path, tmp_path: Path) -> None:
    target = tmp_path / "hello.wav"
    done = wavemill(site, "synthesize", "Hello there", "-e", "sine", "--pitch-hz", "220", "-o", str(target))
    assert done.returncode == 0, done.stderr
    with wave.open(str(target)) as file:
        rate_hz = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    assert rate_hz == 24000
    assert len(samples) / rate_hz == pytest.approx(len("Hello there") * 0.06, abs=0.05)
    loudest_hz = np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples)
    assert loudest_hz == pytest.approx(220, abs=2)


def test_without_the_plug_in_its_engine_is_refused_as_unknown(tmp_path: Path) -> None:
    done = wavemill(None, "synthesize", "Hello there", "-e", "sine", "-o", str(tmp_path / "hello.wav"))
    assert done.returncode == 2
    assert "sine" in done.stderr
