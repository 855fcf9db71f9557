"""Bad input: each case costs its own item, says which and why, and loses nothing else."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.batch import run as runs
from pipelines.supervised import Control
from transforms import models, pull
from transforms.errors import WavemillError
from transforms.settings import Settings

from .conftest import SETTINGS, Heard, Runner


def wav(seconds: float, rate_hz: int = 16000, channels: int = 1) -> bytes:
    frames = round(seconds * rate_hz)
    t = np.arange(frames) / rate_hz
    tone = np.repeat((8000 * np.sin(2 * np.pi * 220 * t)).astype("<i2")[:, None], channels, axis=1).tobytes()
    return (
        b"RIFF" + struct.pack("<I", 36 + len(tone)) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, channels, rate_hz, rate_hz * 2 * channels, 2 * channels, 16) + b"data" + struct.pack("<I", len(tone)) + tone
    )  # fmt: skip


def outcome_of(runner: Runner, bad: dict[str, Any] | str, **fields: Any) -> dict[str, Any]:
    """The row of a bad item between two good ones, which must both be done."""
    runner.write([{"id": "before", "text": "good"}, bad, {"id": "after", "text": "fine"}])
    summary = runner.run(**fields)
    rows = runner.manifest()
    assert [row["status"] for row in rows] == ["done", "failed", "done"] and summary.exit_code == 1
    assert summary.failed == {rows[1]["code"]: 1}
    return rows[1]


@pytest.mark.parametrize(
    ("row", "code", "words"),
    [
        ('{"text": "unclosed', "bad_row", "not a JSON object"),
        ("[1, 2]", "bad_row", "not a JSON object"),
        ({"voice": "echo"}, "bad_row", "no text"),
        ({"text": None}, "bad_row", "no text"),
        ({"text": "hi", "voice": "bella"}, "unknown_voice", "bella"),
        ({"text": "hi", "speed": 9}, "bad_option", "speed"),
        ({"text": "hi", "speed": "quick"}, "bad_option", "quick"),
        ({"text": "hi", "format": "mp4"}, "bad_option", "mp3"),
        ({"text": ""}, "empty_text", ""),
        ({"text": " \n\t "}, "empty_text", ""),
        ({"text": "\U0001f600 \U0001f680"}, "empty_text", ""),
        ({"text": "a " * 100_001}, "text_too_long", "200000"),
    ],
)
def test_a_bad_row_of_text_fails_alone(runner: Runner, row: dict[str, Any] | str, code: str, words: str) -> None:
    found = outcome_of(runner, row)
    assert found["code"] == code and words in found["detail"]


def test_two_rows_with_one_id_and_different_content_both_fail(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}, {"id": "a", "text": "three"}])
    assert runner.run().failed == {"duplicate_id": 2}
    assert [row["status"] for row in runner.manifest()] == ["failed", "done", "failed"]


def test_a_refused_row_is_judged_anew_at_each_run(runner: Runner) -> None:
    outcome_of(runner, {"text": "hi", "voice": "bella"})
    runner.write([{"id": "before", "text": "good"}, {"text": "hi", "voice": "echo"}, {"id": "after", "text": "fine"}])
    assert runner.run().exit_code == 0


AUDIO = {
    "no bytes": (b"", "audio_empty"),
    "no samples": (wav(0), "audio_empty"),
    "cut short": (wav(2)[:20_000], "audio_truncated"),
    "not audio": (b"This is a letter, not a recording. " * 40, "bad_audio"),
    "noise bytes": (bytes(range(256)) * 40, "bad_audio"),
}


@pytest.mark.parametrize("name", AUDIO)
def test_a_bad_file_of_audio_fails_alone(runner: Runner, name: str) -> None:
    data, code = AUDIO[name]
    for label, content in (("a", wav(1)), ("b", data), ("c", wav(1.5))):
        (runner.folder / f"{label}.wav").write_bytes(content)
    runner.write([{"audio": "a.wav"}, {"audio": "b.wav"}, {"audio": "c.wav"}])
    summary = runner.run(operation="transcribe")
    rows = runner.manifest()
    assert [row["code"] for row in rows] == [None, code, None] and summary.exit_code == 1
    assert rows[0]["text"].startswith("1.000 seconds") and rows[2]["text"].startswith("1.500 seconds")


def test_a_uri_that_is_gone_or_forbidden_fails_alone(anywhere: Runner) -> None:
    anywhere.store.write("in/a.wav", wav(1))
    anywhere.write([{"audio": anywhere.store.path("in/a.wav")}, {"audio": anywhere.store.path("in/b.wav")}])
    assert anywhere.run(operation="transcribe").failed == {"input_not_found": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_that_may_not_be_read_is_forbidden(runner: Runner) -> None:
    secret = runner.folder / "secret.wav"
    secret.write_bytes(wav(1))
    secret.chmod(0)
    code = f"""
import os
from transforms import storage
from transforms.errors import WavemillError
os.setuid(65534)
try:
    with storage.open_input({str(secret)!r}):
        print("opened")
except WavemillError as error:
    print(error.code)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() in ("input_forbidden", "input_not_found") and secret.exists()
    runner.folder.chmod(0o755)


def test_an_input_that_changed_after_planning_is_planned_anew_by_the_next_run(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    runner.write([{"audio": "a.wav"}])
    changed = []

    def change(event: dict[str, Any]) -> None:
        if "ready" in event:
            return

    class Planned(Heard):
        def planned(self, plan: Any) -> None:
            if not changed:
                changed.append(1)
                (runner.folder / "a.wav").write_bytes(wav(2))

    summary = runs.run(runner.spec(operation="transcribe"), SETTINGS, Planned(change), Control())
    assert summary.failed == {"input_changed": 1}
    assert runner.run(operation="transcribe").exit_code == 0
    assert runner.manifest()[0]["text"].startswith("2.000 seconds")


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (44100, 2), (96000, 1), (11025, 12), (192000, 2)])
def test_any_rate_and_twelve_channels_work(runner: Runner, rate_hz: int, channels: int) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1, rate_hz, channels))
    runner.write([{"audio": "a.wav"}])
    assert runner.run(operation="transcribe").exit_code == 0
    assert runner.manifest()[0]["duration_s"] == pytest.approx(1, abs=0.001)


def test_audio_longer_than_the_limit_fails_alone(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(10))
    (runner.folder / "b.wav").write_bytes(wav(2))
    runner.write([{"audio": "a.wav"}, {"audio": "b.wav"}])
    settings = SETTINGS.model_copy(update={"max_audio_h": 5 / 3600})
    summary = runs.run(runner.spec(operation="transcribe"), settings, Heard(), Control())
    assert (summary.failed, summary.done) == ({"audio_too_long": 1}, 1)


BEFORE = {
    "an empty manifest": (lambda runner: runner.write([]), {}, "no rows"),
    "a missing manifest": (lambda runner: runner.source.unlink(missing_ok=True), {}, "cannot read SOURCE"),
    "an unknown operation": (lambda runner: None, {"operation": "sing"}, "there are synthesize"),
    "an unknown engine": (lambda runner: None, {"engine": "kokorro"}, "kokoro"),
    "an unknown option": (lambda runner: None, {"options": {"sped": 1}}, "speed"),
    "a wrong value of an option": (lambda runner: None, {"options": {"speed": 7}}, "speed"),
    "a column that is not there": (lambda runner: None, {"columns": {"text": "sentense"}}, "sentence"),
}


@pytest.mark.parametrize("name", BEFORE)
def test_what_is_wrong_with_the_command_is_said_before_anything_runs(runner: Runner, name: str) -> None:
    prepare, fields, words = BEFORE[name]
    runner.write([{"sentence": "x", "text": "y"}])
    prepare(runner)
    with pytest.raises(WavemillError) as caught:
        runner.run(**fields)
    assert caught.value.kind == "usage" and words in caught.value.detail
    assert not runner.store.entries("plan") and not runner.store.entries("leases")


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = Path(tempfile.mkdtemp(prefix="wavemill-small-"))
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False).returncode == 0
    )
    if not mounted:
        folder.rmdir()
        pytest.skip("may not mount a small file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def test_a_full_disk_stops_the_run_and_the_run_goes_on_when_there_is_space(runner: Runner, small_disk: Path) -> None:
    small = Runner(runner.folder, str(small_disk / "out"))
    (small_disk / "ballast").write_bytes(bytes(1_500_000))
    small.write([{"text": f"number {index}"} for index in range(40)])
    fields: dict[str, Any] = {"options": {"piece_s": 0.5}}
    with pytest.raises(WavemillError) as caught:
        small.run(**fields)
    assert (caught.value.code, caught.value.kind) == ("storage_full", "system")
    (small_disk / "ballast").unlink()
    summary = small.run(**fields)
    assert (summary.exit_code, summary.done) == (0, 40)


def test_storage_that_may_not_be_written_stops_the_run(runner: Runner) -> None:
    if not os.path.isdir("/proc/sys"):
        pytest.skip("needs a folder that even root may not write to")
    runner.write([{"text": "x"}])
    with pytest.raises(WavemillError) as caught:
        runner.run(out="/proc/sys/wavemill-test")
    assert caught.value.kind == "system" and caught.value.code in ("storage_forbidden", "storage_unavailable")


def test_weights_that_are_not_the_pinned_ones_stop_the_run_and_are_pulled_anew_by_the_next(runner: Runner) -> None:
    row = models.known("piper-en_US-joe-medium")
    pull.pull(row.id, Settings())
    settings = Settings(models_dir=runner.folder / "models", workers=1)
    shutil.copytree(models.folder(row.id, Settings().models_dir), settings.models_dir / row.id)
    file = settings.models_dir / row.id / row.files[0].name
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    runner.write([{"text": "x"}])
    with pytest.raises(WavemillError) as caught:
        runs.run(runner.spec(engine="piper"), settings, Heard(), Control())
    assert (caught.value.code, caught.value.kind) == ("weights_mismatch", "system")
    assert row.files[0].name in caught.value.detail
    assert runs.run(runner.spec(engine="piper"), settings, Heard(), Control()).done == 1
    assert file.read_bytes() == whole


def test_eight_hours_of_audio_work(runner: Runner) -> None:
    frames = 8 * 3600 * 8000
    path = runner.folder / "long.wav"
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + frames * 2) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16))
        file.write(b"data" + struct.pack("<I", frames * 2))
        file.truncate(44 + frames * 2)
    runner.write([{"audio": "long.wav"}])
    summary = runner.run(operation="transcribe")
    assert summary.exit_code == 0
    row = runner.manifest()[0]
    assert row["duration_s"] == 8 * 3600 and json.loads(row["fields"])["segments"] >= 48
