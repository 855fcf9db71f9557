"""The equalizer does to every frequency what the cookbook says, and moves nothing in time."""

from __future__ import annotations

import numpy as np
import pytest

from transforms import equalizer


def gain_db(sections: np.ndarray, rate_hz: int, at_hz: float) -> float:
    """Gain that a long sine of that frequency gets."""
    sine = np.sin(2 * np.pi * at_hz * np.arange(2 * rate_hz) / rate_hz, dtype=np.float64)[None].astype(np.float32)
    middle = slice(rate_hz // 2, -rate_hz // 2)
    heard = equalizer.equalize(sine, sections)
    return float(20 * np.log10(np.std(heard[0, middle]) / np.std(sine[0, middle])))


@pytest.mark.parametrize("rate_hz", [16000, 48000])
@pytest.mark.parametrize(("strength", "presence_db"), [(1, 1.5), (2, 3.0), (3, 4.5)])
def test_clarity_takes_rumble_away_and_lifts_presence_by_its_strength(rate_hz: int, strength: int, presence_db: float) -> None:
    sections = equalizer.clarity(rate_hz, strength)
    assert gain_db(sections, rate_hz, 25) < -20
    assert gain_db(sections, rate_hz, 50) == pytest.approx(-6, abs=0.5)
    assert gain_db(sections, rate_hz, 300) == pytest.approx(0, abs=0.3)
    assert gain_db(sections, rate_hz, 3000) == pytest.approx(presence_db, abs=0.4)
    assert gain_db(sections, rate_hz, 7500) == pytest.approx(presence_db / 2, abs=0.8)


def test_each_section_gives_its_gain_where_it_is_placed_twice() -> None:
    assert gain_db(equalizer.peak(48000, 1000, 3, 1.0)[None], 48000, 1000) == pytest.approx(6, abs=0.05)
    assert gain_db(equalizer.high_shelf(48000, 2000, -3)[None], 48000, 2000) == pytest.approx(-3, abs=0.05)
    assert gain_db(equalizer.high_shelf(48000, 2000, -3)[None], 48000, 20000) == pytest.approx(-6, abs=0.05)
    assert gain_db(equalizer.high_pass(48000, 200)[None], 48000, 200) == pytest.approx(-6.02, abs=0.05)


def test_a_click_stays_where_it_is_and_symmetric() -> None:
    click = np.zeros((1, 48001), np.float32)
    click[0, 24000] = 0.5
    heard = equalizer.equalize(click, equalizer.clarity(48000, 3))[0]
    assert int(np.abs(heard).argmax()) == 24000
    np.testing.assert_allclose(heard, heard[::-1], atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 100, 5000])
def test_any_length_is_kept_and_silence_is_silence(frames: int) -> None:
    sections = equalizer.clarity(48000, 2)
    noise = np.random.default_rng(0).uniform(-1, 1, (2, frames)).astype(np.float32)
    heard = equalizer.equalize(noise, sections)
    assert heard.shape == noise.shape and heard.dtype == np.float32 and np.isfinite(heard).all()
    assert not equalizer.equalize(np.zeros((2, frames), np.float32), sections).any()
