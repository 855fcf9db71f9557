"""Finding speech, on real voices: the same with or without a block's edge in it, and cuts that fall into silence."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings, strategies as st

from transforms import vad
from transforms.engine import Place
from transforms.engines.piper import Piper
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

RATE_HZ = 16000


@pytest.fixture(scope="module")
def sentence() -> np.ndarray:
    """A sentence of about 3 s, float32 of shape (frames,) at 16 kHz."""
    pull("piper-en_US-joe-medium", Settings())
    piper = Piper()
    piper.load(Place("cpu", 1, Settings().models_dir))
    (outcome,) = piper.run([Piece({"text": "The boat came back late in the evening."}, Piper.Options(), 1)])
    assert isinstance(outcome, Result)
    audio = outcome.outputs["audio"]
    spoken: np.ndarray = soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ)
    return spoken


def at_times(sentence: np.ndarray, *starts_s: float, length_s: float) -> Audio:
    samples = np.zeros((1, round(length_s * RATE_HZ)), np.float32)
    for start in (round(s * RATE_HZ) for s in starts_s):
        samples[0, start : start + len(sentence)] = sentence
    return Audio(samples, RATE_HZ)


def voiced_s(spans: list[vad.Span]) -> float:
    return sum(b - a for a, b in spans) / RATE_HZ


def test_speech_is_found_where_it_is(sentence: np.ndarray) -> None:
    length_s = len(sentence) / RATE_HZ
    spans = vad.find_speech(at_times(sentence, 5, 20, length_s=30))
    assert voiced_s(spans) == pytest.approx(2 * length_s, rel=0.15)
    for a, b in spans:
        assert any(start - 0.1 <= a / RATE_HZ < b / RATE_HZ <= start + length_s + 0.2 for start in (5, 20))


def test_the_edge_of_a_block_does_not_part_speech(sentence: np.ndarray) -> None:
    edge = vad._BLOCK_S
    apart = [vad.find_speech(at_times(sentence, start, length_s=edge + 10)) for start in (edge - 50, edge - 1.504)]
    shift = round((50 - 1.504) * RATE_HZ)
    assert len(apart[0]) == len(apart[1])
    for (a, b), (c, d) in zip(*apart, strict=True):
        assert abs(c - a - shift) <= 0.1 * RATE_HZ
        assert abs(d - b - shift) <= 0.1 * RATE_HZ


def test_silence_and_tones_are_not_speech() -> None:
    tone = np.sin(np.arange(5 * RATE_HZ) * 2 * np.pi * 440 / RATE_HZ, dtype=np.float32)[None] * 0.3
    for samples in (np.zeros((1, 5 * RATE_HZ), np.float32), tone, np.zeros((1, 0), np.float32)):
        assert vad.find_speech(Audio(samples, RATE_HZ)) == []


def test_other_rates_and_channels_are_heard_as_well(sentence: np.ndarray) -> None:
    mono = at_times(sentence, 2, length_s=8).samples[0]
    stereo = np.stack([soxr.resample(mono, RATE_HZ, 44100)] * 2)
    spans = vad.find_speech(Audio(stereo, 44100))
    assert [(a / 44100, b / 44100) for a, b in spans] == [
        pytest.approx((a / RATE_HZ, b / RATE_HZ), abs=0.1) for a, b in vad.find_speech(Audio(mono[None], RATE_HZ))
    ]


def test_speech_without_end_is_parted(sentence: np.ndarray) -> None:
    spoken = sentence[len(sentence) // 3 : -len(sentence) // 3]
    spans = vad.find_speech(Audio(np.tile(spoken, 20)[None], RATE_HZ), max_speech_s=3.0)
    assert len(spans) > 1
    assert all(b - a <= 3.1 * RATE_HZ for a, b in spans)


def test_long_audio_is_cut_in_silence(sentence: np.ndarray) -> None:
    step_s = len(sentence) / RATE_HZ + 0.8
    audio = at_times(sentence, *(n * step_s for n in range(20)), length_s=20 * step_s)
    points = vad.cut_points(audio, max_s=20)
    speech = vad.find_speech(audio)
    assert len(points) == pytest.approx(audio.duration_s / 20, abs=2)
    assert not any(a < point < b for point in points for a, b in speech)


def test_speech_without_a_pause_is_cut_at_the_limit(sentence: np.ndarray) -> None:
    spoken = sentence[len(sentence) // 3 : -len(sentence) // 3]
    audio = Audio(np.tile(spoken, 20)[None], RATE_HZ)
    assert vad.cut_points(audio, max_s=4)[0] == 4 * RATE_HZ


@settings(max_examples=25)
@given(
    parts=st.lists(st.tuples(st.sampled_from(["silence", "noise", "speech"]), st.floats(0.01, 3)), min_size=1, max_size=6),
    max_s=st.floats(0.5, 6),
)
def test_nothing_between_cuts_is_longer_than_the_limit(parts: list[tuple[str, float]], max_s: float, sentence: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE_HZ).astype(np.float32)
    kinds = {"silence": np.zeros(3 * RATE_HZ, np.float32), "noise": noise, "speech": sentence}
    audio = Audio(np.concatenate([kinds[kind][: round(s * RATE_HZ)] for kind, s in parts])[None], RATE_HZ)
    edges = [0, *vad.cut_points(audio, max_s), audio.frames]
    assert all(0 < b - a <= int(max_s * RATE_HZ) for a, b in pairwise(edges)) or audio.frames == 0
