"""`wavemill run synthesize` and `wavemill run transcribe` with their default engines: what the one speaks, the other writes down."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.words import word_errors
from tests.transforms.test_references import say
from transforms import codec
from transforms.options import AudioOptions
from transforms.pull import pull
from transforms.records import Audio
from transforms.settings import Settings

from .conftest import Runner

TEXTS = {
    "clock": "The clock above the mill had stopped a long time ago, and nobody could say when it was last heard.",
    "boats": "Two boats came in slowly that morning. An old man waved at them from the pier.",
    "letter": "She read the letter twice before she put it away.",
}


@pytest.mark.slow
def test_what_a_run_speaks_another_run_writes_down_with_its_times_and_bad_recordings_cost_their_rows(runner: Runner) -> None:
    for model in ("kokoro-int8", "kokoro-voices", "whisper-base"):
        pull(model, Settings())
    runner.write([{"id": name, "text": text} for name, text in TEXTS.items()])
    told = runner.command("synthesize", "--format", "flac")
    assert (told["engine"], told["done"]) == ("kokoro", 3)
    spoken = {row["id"]: row for row in runner.manifest()}

    hearing = Runner(runner.folder, str(runner.folder / "heard"))
    others = {"joe": say("piper", TEXTS["letter"]), "silence": Audio(np.zeros((1, 48000), np.float32), 16000)}
    for name, audio in others.items():
        (runner.folder / f"{name}.mp3").write_bytes(codec.encode(audio, AudioOptions(format="mp3")).data)
    (runner.folder / "broken.wav").write_bytes(b"RIFF and nothing more")
    rows = [{"id": name, "audio": row["uri"]} for name, row in spoken.items()]
    hearing.write([*rows, *({"id": name, "audio": name} for name in ("joe.mp3", "silence.mp3", "broken.wav", "gone.wav"))])
    flags = ("--timestamps", "--max-failures", "2")
    told = hearing.command("transcribe", *flags)
    assert (told["engine"], told["done"], told["failed"]) == ("faster-whisper", 5, {"audio_truncated": 1, "input_not_found": 1})

    heard = {row["id"]: row for row in hearing.manifest() if row["status"] == "done"}
    assert heard.pop("silence.mp3")["text"] == ""
    said = {**TEXTS, "joe.mp3": TEXTS["letter"]}
    assert word_errors([said[name] for name in heard], [row["text"] for row in heard.values()]) < 0.05
    for row in heard.values():
        file = json.loads(Path(row["uri"]).read_bytes())
        assert (file["text"], file["language"]) == (row["text"], "en")
        words = [word for segment in file["segments"] for word in segment["words"]]
        assert " ".join(word["word"] for word in words) == row["text"]
        edges = [word[edge] for word in words for edge in ("start", "end")]
        assert edges == sorted(edges) and edges[-1] <= row["duration_s"]
    assert hearing.command("transcribe", *flags)["made"] == 0
