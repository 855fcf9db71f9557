"""`wavemill voices`: what is listed, what is saved and with whose consent, and what a voice sounds like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result

import wavemill
from pipelines.voice_commands import spoken_preview
from transforms.engine import Engine, engine_class
from transforms.records import Outcome, Piece
from transforms.settings import Settings
from transforms.voice_library import PACK_SHAPE, Library, library


def call(*args: str | Path) -> Result:
    return CliRunner().invoke(wavemill.root, [str(arg) for arg in args])


def facts(*args: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(call(*args, "--json").stdout)
    return found


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library of its own."""
    monkeypatch.setenv("WAVEMILL_VOICES", str(tmp_path / "voices"))
    return library()


def test_voices_are_found_by_engine_language_and_gender(saved: Library) -> None:
    assert len(facts("voices", "--engine", "kokoro")) == len(facts("voices", "--engine", "kokoro-torch")) == 54
    british = facts("voices", "--language", "en_GB", "--gender", "female")
    assert [row["id"] for row in british] == ["bf_alice", "bf_emma", "bf_isabella", "bf_lily"]
    assert [row["id"] for row in facts("voices", "-e", "piper", "--language", "en", "--gender", "male")] == ["en_US-joe-medium"]
    english = {row["language"] for row in facts("voices", "--language", "en")}
    assert english == {"en-us", "en-gb"}
    assert facts("voices", "--language", "tlh") == []
    assert call("voices", "--engine", "koko").exit_code == 2


def test_a_saved_voice_is_listed_and_speaks_and_is_forgotten_when_it_is_removed(saved: Library, tmp_path: Path) -> None:
    ann = saved.save("Ann, by mail", name="Ann", made_of="af_bella:0.7+bf_emma:0.3", language="en-gb", method="mix", similarity=0.8)
    assert [row["name"] for row in facts("voices", "--language", "en-gb", "--engine", "kokoro")][-1] == "Ann"
    first, second = tmp_path / "a.mp3", tmp_path / "b.mp3"
    assert call("voices", "preview", ann.id, "-o", first).exit_code == 0
    with av.open(str(first)) as file:
        assert "synthetic" in file.metadata["comment"]
        assert file.duration and file.duration > 1_000_000
    assert call("voices", "preview", ann.id, "-o", second).exit_code == 0
    assert first.read_bytes() == second.read_bytes()
    assert call("voices", "remove", ann.id).exit_code == 0
    answer = call("synthesize", "Hello", "--voice", ann.id, "-o", tmp_path / "c.mp3")
    assert (answer.exit_code, "unknown_voice" in answer.stderr or "no voice" in answer.stderr) == (2, True)
    assert call("voices", "remove", ann.id).exit_code == 1


def test_a_preview_is_spoken_once_and_again_when_the_engine_is_another_version(saved: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    cls, spoken = engine_class("synthesize", "piper"), []

    def run(self: Engine, pieces: Sequence[Piece]) -> list[Outcome]:
        spoken.append(self.version)
        return speak(self, pieces)

    speak = cls.run
    monkeypatch.setattr(cls, "run", run)
    for version in (1, 1, 2, 1, 2):
        monkeypatch.setattr(cls, "version", version)
        spoken_preview("en_US-joe-medium", Settings())
    assert spoken == [1, 2]


def test_what_was_found_for_a_recording_is_listed_as_what_it_is(saved: Library) -> None:
    facts_of = {"method": "so", "similarity": 0.8}
    saved.add_mix("emb_000000000000", "bf_emma:0.7+af_bella:0.3", **facts_of)
    saved.add_fitted("emb_000000000001", np.zeros(PACK_SHAPE, np.float32), made_of="ef_dora", **facts_of)
    listed = [(row["name"], row["language"]) for row in facts("voices") if row["id"].startswith("emb_")]
    assert listed == [("mixed", "en-gb"), ("fitted", "es")]


def test_a_voice_is_not_saved_without_consent(saved: Library, tmp_path: Path) -> None:
    assert call("voices", "save", "me.wav", "--name", "me").exit_code == 2
    assert call("voices", "save", "me.wav", "--name", "me", "--consent", " ").exit_code == 2
    assert list(saved.all()) == []


def test_a_preview_of_nobody_says_who_there_is(saved: Library) -> None:
    answer = call("voices", "preview", "af_bela", "-o", "a.mp3")
    assert answer.exit_code == 1
    assert "af_bella" in answer.stderr
