"""Voices that are found once: kept in the library by embed, and used by their id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms import fitting, references, voices
from transforms.engine import Place, engine_class
from transforms.engines import kokoro_voice
from transforms.fitting import Fit
from transforms.records import Audio, Piece, Result
from transforms.voice_library import PACK_SHAPE, library

REFERENCE = Audio(np.full((1, 16000), 0.1, np.float32), 16000)
MIX = "nearest mix of stock voices"


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Audio]:
    """What was listened to, by an encoder that always hears a voice between two; with a library of its own, and no torch."""
    heard: list[Audio] = []
    voice = references.bank()[[2, 30]].sum(axis=0)

    def listen(encoder: Any, audio: Audio, field: str) -> np.ndarray:
        heard.append(audio)
        return voice / np.linalg.norm(voice)

    monkeypatch.setenv("WAVEMILL_VOICES", str(tmp_path / "voices"))
    monkeypatch.setattr(references, "embed", listen)
    monkeypatch.setattr(kokoro_voice, "SpeakerEncoder", lambda place: None)
    monkeypatch.setattr(kokoro_voice, "find_spec", lambda module: None)
    return heard


def embed(audio: Audio = REFERENCE) -> Result:
    """As a process of its own would."""
    cls = engine_class("embed", "kokoro")
    engine = cls()
    engine.load(Place("cpu", 1, Path()))
    (found,) = engine.run([Piece({"audio": audio}, cls.Options(), 0)])
    assert isinstance(found, Result)
    return found


def test_a_mix_that_was_found_for_a_recording_is_kept_and_not_looked_for_again(heard: list[Audio]) -> None:
    first, again, other = embed(), embed(), embed(Audio(-REFERENCE.samples, 16000))
    assert len(heard) == 2, "once for each recording"
    assert again == first and other.fields["voice"] != first.fields["voice"]
    voice, mix = first.fields["voice"], first.fields["mix"]
    assert (voice[:4], first.fields["method"]) == ("emb_", MIX)
    assert library().find(voice).made_of == mix and "+" in mix
    assert json.loads(first.outputs["voice"].data).items() >= first.fields.items()


def test_what_a_kept_mix_speaks_is_tagged_and_sounds_as_the_mix_does(heard: list[Audio]) -> None:
    found = embed().fields
    assert voices.resolve("kokoro", found["voice"]) == voices.resolve("kokoro", found["mix"])
    assert voices.of_recording(found["voice"]) and not voices.of_recording(found["mix"])


def test_a_voice_is_fitted_once_torch_is_there_although_a_mix_was_kept(heard: list[Audio], monkeypatch: pytest.MonkeyPatch) -> None:
    mixed = embed().fields
    monkeypatch.setattr(kokoro_voice, "find_spec", lambda module: module)
    monkeypatch.setattr(fitting, "hold", lambda place: None)
    monkeypatch.setattr(fitting, "fit", lambda *given: Fit(np.zeros(PACK_SHAPE, np.float32), 0.9))
    fitted = embed().fields
    assert fitted["method"] == "style fitted by gradient" and "mix" not in fitted
    assert fitted["voice"] != mixed["voice"]
    assert {voice.id for voice in library().all()} == {fitted["voice"], mixed["voice"]}


def test_a_clone_keeps_no_mix_and_takes_one_that_is_kept(heard: list[Audio]) -> None:
    clones = kokoro_voice.Fitter(Place("cpu", 1, Path()))
    options = engine_class("clone", "kokoro").Options()
    assert "+" in clones.voice(REFERENCE, options).voice and library().ids() == []
    kept = embed().fields["voice"]
    assert kokoro_voice.Fitter(Place("cpu", 1, Path())).voice(REFERENCE, options).voice == kept
    assert len(heard) == 2
