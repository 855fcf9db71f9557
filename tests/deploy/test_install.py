"""`deploy/install.sh`: an empty prefix becomes an installation, a given one is brought up to date, another is left alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))


def install(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    # modules are compiled when they are first imported: compiling them all takes most of the time
    environment = {**os.environ, "PIP_NO_COMPILE": "1"}
    environment.pop("PYTHONPATH", None)
    command = [ROOT / "deploy/install.sh", "--python", sys.executable, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def freeze(prefix: Path) -> dict[str, str]:
    told = subprocess.run([prefix / "bin/pip", "list", "--format=freeze"], check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", told, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_empty_prefix_becomes_an_installation_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    prefix, cache = tmp_path / "prefix", tmp_path / "cache"
    told = install("--cache", cache, prefix).stdout
    found = freeze(prefix)
    assert f"wavemill {found['wavemill']}" in told
    assert re.search(r"^ok +imports", told, re.MULTILINE)
    assert {name: version for name, version in found.items() if PINS.get(re.sub(r"[-_.]+", "-", name).lower(), version) != version} == {}
    assert cache.stat().st_mode & 0o7777 == 0o1777
    # the wheel of what is there already, with one file changed
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("wavemill-*.whl")
    (damaged,) = prefix.glob("lib/python3*/site-packages/wavemill.py")
    damaged.write_text("raise SystemExit(1)")
    install(prefix, wheel)
    assert freeze(prefix) == found
    assert damaged.read_bytes() == (ROOT / "wavemill.py").read_bytes()


def test_a_folder_that_holds_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")
    assert "holds other things" in install(tmp_path, code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["letters"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{}/prefix", "{}"], "neither a wheel nor a checkout"),
        (["{}/prefix", "{}/no.whl"], "no such wheel"),
        (["--constraint", "{}/none.txt", "{}/prefix"], "give the pins"),
        (["--python", "/bin/false", "{}/prefix"], "Python 3.11 or 3.12"),
        (["--extras"], "usage"),
        (["--surprise", "{}/prefix"], "usage"),
        ([], "usage"),
    ],
)
def test_wrong_usage_is_told_and_makes_nothing(tmp_path: Path, arguments: list[str], told: str) -> None:
    assert told in install(*[one.format(tmp_path) for one in arguments], code=2).stderr
    assert list(tmp_path.iterdir()) == []


def test_with_the_extra_gpu_onnxruntime_is_the_gpu_s(tmp_path: Path) -> None:
    prefix, said = tmp_path / "prefix", tmp_path / "said"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "pyvenv.cfg").touch()
    for name in ("python", "pip", "wavemill"):
        program = prefix / "bin" / name
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> "{said}"\n')
        program.chmod(0o755)
    install("--extras", "kafka,gpu", prefix)
    orders = [line.split() for line in said.read_text().splitlines() if line.startswith("python -m pip")]
    (installed, removed, put_back) = [words for words in orders if {"install", "uninstall"} & set(words)]
    assert installed[-1].endswith("[kafka,gpu]")
    assert removed[-2:] == ["onnxruntime", "onnxruntime-gpu"] and "uninstall" in removed
    assert put_back[-1] == "onnxruntime-gpu" and {"--no-deps", "--constraint"} <= set(put_back)
    assert ["check"] in [words[3:] for words in orders[: orders.index(removed)]], "what pip checks is what it chose itself"
