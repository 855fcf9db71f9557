"""What an engine said: its edges, and whether it can be its text."""

from __future__ import annotations

import numpy as np
import pytest

from transforms import speech
from transforms.records import Audio

RATE_HZ = 24000


def tone(seconds: float, level: float = 0.5, rate_hz: int = RATE_HZ) -> np.ndarray:
    return (level * np.sin(np.arange(round(seconds * rate_hz)) * 0.1)).astype(np.float32)[None]


def silence(seconds: float) -> np.ndarray:
    return np.zeros((1, round(seconds * RATE_HZ)), np.float32)


def audio(*parts: np.ndarray) -> Audio:
    return Audio(np.concatenate(parts, axis=1), RATE_HZ)


def doubt(given: Audio, text: str, speed: float = 1.0) -> str:
    return speech.doubt(given, speech.levels(given), text, speed)


def test_silence_at_the_edges_is_cut_to_30_ms() -> None:
    given = audio(silence(0.5), tone(1), silence(0.8))
    trimmed, start = speech.trim(given, speech.levels(given))
    assert trimmed.duration_s == pytest.approx(1.06, abs=0.011)
    np.testing.assert_array_equal(trimmed.samples, given.samples[:, start : start + trimmed.frames])
    assert np.abs(trimmed.samples[:, : round(0.02 * RATE_HZ)]).max() == 0


def test_a_consonant_40_db_under_the_peak_is_kept() -> None:
    given = audio(silence(0.3), tone(0.1, 0.005), tone(1), tone(0.1, 0.005), silence(0.3))
    assert speech.trim(given, speech.levels(given))[0].duration_s == pytest.approx(1.26, abs=0.011)


def test_noise_60_db_under_the_peak_is_silence() -> None:
    given = audio(tone(0.5, 0.0005), tone(1), tone(0.5, 0.0005))
    assert speech.trim(given, speech.levels(given))[0].duration_s == pytest.approx(1.06, abs=0.011)


def test_what_is_shorter_than_a_block_is_left_alone() -> None:
    given = Audio(tone(0.001), RATE_HZ)
    trimmed, start = speech.trim(given, speech.levels(given))
    assert (trimmed.frames, start) == (given.frames, 0)
    assert speech.fade(Audio(np.ones((1, 1), np.float32), RATE_HZ)).shape == (1, 1)


def test_a_fade_begins_and_ends_near_nothing_and_leaves_the_middle() -> None:
    given = Audio(np.ones((2, RATE_HZ), np.float32), RATE_HZ)
    faded = speech.fade(given)
    assert faded[0, 0] < 0.01 > faded[1, -1]
    assert (faded[:, 120:-120] == 1).all()
    assert (given.samples == 1).all()


SENTENCE = "The quick brown fox jumps over the lazy dog near the river."


@pytest.mark.parametrize(
    ("given", "text", "why"),
    [
        (audio(tone(3.5)), SENTENCE, ""),
        (audio(silence(0.5), tone(0.3), silence(0.6)), "Hi!", ""),
        (audio(tone(1.8)), SENTENCE, ""),
        (audio(tone(9)), SENTENCE, ""),
        (audio(tone(4)), "NASA, 1984", ""),
        (audio(tone(1.5)), "今日はいい天気ですね。", ""),
        (audio(silence(3)), SENTENCE, "no sound"),
        (audio(silence(0)), SENTENCE, "no sound"),
        (audio(tone(2), silence(9)), SENTENCE, "82% silence"),
        (audio(tone(0.3)), SENTENCE, "0.30 s for 59 characters"),
        (audio(tone(25)), SENTENCE, "25.00 s for 59 characters"),
        (Audio(np.full((1, 9600), np.nan, np.float32), RATE_HZ), SENTENCE, "not finite"),
    ],
)
def test_silence_and_implausible_lengths_are_doubted(given: Audio, text: str, why: str) -> None:
    said = doubt(given, text)
    assert why in said if why else not said


def test_the_bounds_follow_the_speed() -> None:
    given = audio(tone(12))
    assert doubt(given, SENTENCE, 0.5) == ""
    assert doubt(given, SENTENCE, 2.0).startswith("12.00 s")
