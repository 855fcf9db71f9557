"""Whose voice a recording tells, and recordings that cannot tell it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soxr
from hypothesis import given, strategies as st

from transforms import references, speakers, voices
from transforms.engine import Place, engine_class
from transforms.errors import WavemillError
from transforms.models import KOKORO_PACKS
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

TEXT = "The clock above the mill had stopped a long time ago, and nobody in the village could say when it was last heard."


def say(engine: str, text: str, **options: Any) -> Audio:
    cls = engine_class("synthesize", engine)
    parsed = cls.Options.parse(options)
    for model in cls().models(parsed):
        pull(model, Settings())
    made = cls()
    made.load(Place("cpu", 1, Settings().models_dir))
    (outcome,) = made.run([Piece({"text": text}, parsed, 0)])
    assert isinstance(outcome, Result)
    audio: Audio = outcome.outputs["audio"]
    return audio


@pytest.fixture(scope="module")
def encoder() -> speakers.SpeakerEncoder:
    pull(speakers.MODEL, Settings())
    return speakers.SpeakerEncoder(Place("cpu", 1, Settings().models_dir))


@pytest.fixture(scope="module")
def joe() -> Audio:
    return say("piper", TEXT)


@pytest.fixture(scope="module")
def fable() -> Audio:
    return say("kokoro", TEXT, voice="bm_fable")


def refusal(encoder: speakers.SpeakerEncoder, audio: Audio) -> str:
    with pytest.raises(WavemillError) as caught:
        references.embed(encoder, audio, "target")
    assert (caught.value.code, caught.value.field) == ("bad_reference", "target")
    return caught.value.detail


def test_a_stock_voice_is_found_in_its_own_speech(encoder: speakers.SpeakerEncoder, fable: Audio) -> None:
    found = references.nearest(references.embed(encoder, fable))
    assert max(found.mix, key=lambda part: part[1])[0] == "bm_fable"
    assert found.similarity > 0.9


def test_a_mix_is_nearer_to_an_outside_voice_than_the_best_stock_voice(encoder: speakers.SpeakerEncoder, joe: Audio) -> None:
    embedding = references.embed(encoder, joe)
    best = max(speakers.similarity(row, embedding) for row in references.bank())
    assert references.nearest(embedding).similarity > best


@pytest.mark.slow
def test_what_the_mix_says_sounds_like_the_reference(encoder: speakers.SpeakerEncoder, fable: Audio) -> None:
    embedding = references.embed(encoder, fable)
    found = references.nearest(embedding, without="bm_fable")
    spoken = say("kokoro", "Nothing of this was said before.", voice=references.written(found.mix), language="en-gb")
    other = say("kokoro", "Nothing of this was said before.", voice="af_nicole")

    def near(audio: Audio) -> float:
        return speakers.similarity(encoder.embed(Audio(soxr.resample(audio.samples[0], 24000, 16000)[None], 16000)), embedding)

    assert near(spoken) > near(other) + 0.1


@given(st.lists(st.floats(0, 1), min_size=256, max_size=256).filter(lambda values: sum(values) > 1))
def test_a_mix_can_be_written_and_read_again(values: list[float]) -> None:
    embedding = np.asarray(values, np.float32)
    found = references.nearest(embedding / np.linalg.norm(embedding))
    assert len(found.mix) <= references.MOST_VOICES
    assert sum(weight for _, weight in found.mix) == pytest.approx(1)
    assert [id for id, _ in voices.resolve("kokoro", references.written(found.mix))] == [id for id, _ in found.mix]


def test_the_bank_holds_each_stock_voice_at_unit_length() -> None:
    assert references.bank().shape == (len(KOKORO_PACKS), speakers.SIZE)
    assert np.linalg.norm(references.bank(), axis=1) == pytest.approx(np.ones(len(KOKORO_PACKS)), abs=1e-3)


def test_a_reference_of_a_second_is_too_short(encoder: speakers.SpeakerEncoder, joe: Audio) -> None:
    assert "1.0 s long" in refusal(encoder, Audio(joe.samples[:, : joe.rate_hz], joe.rate_hz))


def test_a_reference_of_an_hour_is_too_long(encoder: speakers.SpeakerEncoder) -> None:
    samples = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1, 3600 * 16000), (0, 0))
    assert "3600 s long" in refusal(encoder, Audio(samples, 16000))


def test_silence_is_no_reference(encoder: speakers.SpeakerEncoder) -> None:
    assert "silent" in refusal(encoder, Audio(np.zeros((1, 5 * 16000), np.float32), 16000))


def test_music_is_no_reference(encoder: speakers.SpeakerEncoder) -> None:
    t = np.arange(8 * 16000) / 16000
    chords = sum(np.sin(2 * np.pi * f * t * (1 + (t // 2 % 2) / 3)) for f in (220, 277.2, 329.6)) / 6
    assert "speech" in refusal(encoder, Audio(chords.astype(np.float32)[None], 16000))


def test_two_speakers_are_no_reference(encoder: speakers.SpeakerEncoder, joe: Audio, fable: Audio) -> None:
    other = soxr.resample(say("kokoro", TEXT, voice="af_bella").samples[0], 24000, joe.rate_hz)
    both = np.concatenate([joe.samples[0], np.zeros(joe.rate_hz, np.float32), other])[None]
    assert "2 speakers" in refusal(encoder, Audio(both, joe.rate_hz))
