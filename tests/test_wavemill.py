"""The command line as a user meets it: its help, its exit codes, its signals, and the functions for Python."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import wavemill
from transforms.command_line import Mount
from transforms.errors import WavemillError
from transforms.operations import OPERATIONS

HEAVY = ("apache_beam", "torch", "duckdb", "pyarrow", "av", "onnxruntime", "faster_whisper", "spacy", "rich", "huggingface_hub")
LIMIT_S = 0.5
PROBE = f"""
import contextlib, io, json, sys, time
import wavemill
text = io.StringIO()
with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
    wavemill.root.main([*sys.argv[1:], "--help"])
seconds = time.process_time()
print(json.dumps([text.getvalue(), seconds, [name for name in {HEAVY!r} if name in sys.modules]]))
"""


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        yield (*path, name)
        if isinstance(found, click.Group):
            yield from _commands(found, (*path, name))


def _start(*args: str, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "wavemill", *args]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, **options.pop("env", {})}
    return subprocess.Popen(command, cwd=cwd, env=environment, **{**pipes, **options})


def _run(*args: str, cwd: Path, **options: Any) -> tuple[int, str, str]:
    with _start(*args, cwd=cwd, **options) as process:
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


@pytest.mark.parametrize("command", [(), *_commands(wavemill.root)], ids=" ".join)
def test_every_help_shows_examples_in_under_half_a_second_without_heavy_imports(command: tuple[str, ...]) -> None:
    # the processor's time, so that what else this machine does counts for nothing
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    for _ in range(3):
        answer = subprocess.run([sys.executable, "-P", "-c", PROBE, *command], env=environment, capture_output=True, text=True, check=True)
        text, seconds, heavy = json.loads(answer.stdout)
        assert "Usage: wavemill" in text
        assert "Example" in text
        assert heavy == []
        if seconds < LIMIT_S:
            return
    pytest.fail(f"the help of {' '.join(command)} took {seconds:.2f} s")


def test_every_operation_is_a_command_and_a_subcommand_of_run_and_plan() -> None:
    commands = set(_commands(wavemill.root))
    for name in OPERATIONS:
        spelled = name.replace("_", "-")
        assert {(spelled,), ("run", spelled), ("plan", spelled)} <= commands


def test_the_version_is_that_of_the_package() -> None:
    answer = CliRunner().invoke(wavemill.root, ["--version"])
    assert (answer.exit_code, answer.stdout) == (0, "wavemill 0.1.0\n")


@pytest.mark.parametrize(
    ("args", "near"),
    [
        (["rum"], "run"),
        (["run", "synthesise", "in.txt", "-o", "out"], "synthesize"),
        (["run", "synthesize", "in.txt", "-o", "out", "--sped", "2"], "--speed"),
        (["run", "synthesize", "in.txt", "-o", "out", "-O", "sped=2"], "speed"),
        (["run", "synthesize", "in.txt", "-o", "out", "-e", "koko"], "kokoro"),
        (["synthesize", "hello", "-e", "echo", "--voice", "eko"], "echo"),
        (["models", "pull", "whisper-bas"], "whisper-base"),
    ],
)
def test_a_wrong_name_exits_2_and_names_the_near_ones(args: list[str], near: str) -> None:
    answer = CliRunner().invoke(wavemill.root, args)
    assert answer.exit_code == 2
    assert re.search(f"[Dd]id you mean.*{near}", answer.stderr)


def test_a_wrong_environment_variable_exits_2_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_WORKERS", "many")
    answer = CliRunner().invoke(wavemill.root, ["synthesize", "hello", "-e", "echo"])
    assert answer.exit_code == 2
    assert "WAVEMILL_WORKERS" in answer.stderr


def test_an_error_of_ours_is_one_line_and_a_fault_of_the_program_names_its_log(tmp_path: Path) -> None:
    code, out, err = _run("status", str(tmp_path), cwd=tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("wavemill: bad_usage: ")
    assert err.count("\n") == 1
    root = wavemill.Root("root", mounts={"Commands": {"broken": Mount("Break.", "json:loads", "{")}})
    answer = CliRunner().invoke(root, ["broken"])
    assert answer.exit_code == 3
    assert answer.stderr.count("\n") == 1
    log = Path(answer.stderr.split("; ")[-1].split()[0])
    assert "JSONDecodeError" in log.read_text()
    log.unlink()


def test_a_run_exits_0_when_all_is_done_1_with_failures_and_3_when_its_storage_is_broken(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("one\ntwo\nthree bad\n")
    command = ("run", "synthesize", "in.txt", "-e", "echo", "--format", "wav", "--fail-on", "bad", "-o")
    code, out, err = _run(*command, "out", "--json", "--quiet", cwd=tmp_path)
    summary = json.loads(out)
    assert (code, summary["exit_code"], summary["state"]) == (1, 1, "failures")
    assert (summary["done"], summary["failed"], summary["published"]) == (2, {"engine_error": 1}, True)
    assert "wavemill replay" in err
    code, out, err = _run(*command, "out", "--max-failures", "50%", cwd=tmp_path)
    assert (code, out) == (0, "")
    assert "2 of 3 rows are done" in err
    (tmp_path / "file").write_text("")
    environment = {"WAVEMILL_STORAGE_PATIENCE_S": "0"}
    code, out, err = _run(*command, "file/out", "--json", cwd=tmp_path, env=environment)
    assert code == 3
    assert json.loads(out)["code"] in err


def test_ctrl_c_stops_a_run_within_a_piece_and_the_same_command_finishes_it(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("".join(f"line {n}\n" for n in range(8)))
    command = ["run", "synthesize", "in.txt", "-o", "out", "-e", "echo", "--format", "wav", "--delay-s", "0.5"]
    command += ["--unit-items", "1", "--workers", "1"]
    parts = tmp_path / "out" / "parts"
    with _start(*command, cwd=tmp_path) as process:
        while not (parts.exists() and any(parts.iterdir())):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        told_s = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
    assert time.monotonic() - told_s < 5
    assert "the same command again goes on" in err
    first = {path.name: path.stat().st_mtime_ns for path in parts.iterdir()}
    assert 0 < len(first) < 8
    assert not (tmp_path / "out" / "manifest.parquet").exists()
    assert not list((tmp_path / "out" / "leases").iterdir())
    code, out, err = _run(*command, "--json", cwd=tmp_path)
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["done"], summary["made"]) == (8, 8 - len(first))
    assert {name: (parts / name).stat().st_mtime_ns for name in first} == first


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_planning_exits_at_once_and_frees_the_lease(tmp_path: Path, number: int, code: int) -> None:
    command = ["run", "synthesize", "-", "-o", "out", "-e", "echo"]
    with _start(*command, cwd=tmp_path, stdin=subprocess.PIPE) as process:  # it plans until its standard input ends
        leases = tmp_path / "out" / "leases"
        while not (leases.exists() and any(leases.iterdir())):
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.3)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert not list(leases.iterdir())


def test_ctrl_c_stops_a_single_item_within_a_piece_and_writes_nothing(tmp_path: Path) -> None:
    text = "A sentence that is said again and again until somebody stops it. " * 2000
    (tmp_path / "long.txt").write_text(text)
    command = ["synthesize", "--file", "long.txt", "-e", "echo", "--delay-s", "0.05", "-o", "long.wav", "--workers", "1"]
    with _start(*command, cwd=tmp_path) as process:
        time.sleep(4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["long.txt"]


def test_python_speaks_transcribes_and_runs(tmp_path: Path) -> None:
    clip = wavemill.synthesize("Hello there", engine="echo", format="wav", piece_s=0.5)
    assert (clip.format, clip.duration_s, clip.data[:4]) == ("wav", 0.5, b"RIFF")
    path = tmp_path / "hello.wav"
    path.write_bytes(clip.data)
    assert wavemill.transcribe(path, engine="echo")["text"].startswith("0.500 seconds")
    source = tmp_path / "in.txt"
    source.write_text("one\ntwo\n")
    spec = {"operation": "synthesize", "source": str(source), "out": str(tmp_path / "out"), "engine": "echo"}
    summary = wavemill.run(spec)
    assert (summary.done, summary.failed, summary.exit_code) == (2, {}, 0)


def test_python_raises_the_failure_of_its_item(tmp_path: Path) -> None:
    with pytest.raises(WavemillError) as caught:
        wavemill.transcribe(tmp_path / "gone.mp3", engine="echo")
    assert caught.value.code == "input_not_found"
    with pytest.raises(WavemillError) as caught:
        wavemill.synthesize("Hello", engine="echo", sped=2)
    assert (caught.value.code, caught.value.field) == ("bad_option", "sped")
