"""What is around the enhance engines: what is refused, and what is done after them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from transforms import enhance
from transforms.errors import WavemillError
from transforms.records import Audio, Input, Item

RATE_HZ = 16000


def options(**values: Any) -> enhance.Options:
    return enhance.Options.parse({"denoise": False, "clarity": False, **values})


def tone(level: float) -> Audio:
    """Two channels of 3 kHz, one of them silent."""
    sine = level * np.sin(2 * np.pi * 3000 * np.arange(RATE_HZ) / RATE_HZ)
    return Audio(np.stack((sine, 0 * sine)).astype(np.float32), RATE_HZ)


def test_an_item_that_asks_for_nothing_is_refused() -> None:
    inputs = {"audio": Input("uri", "a.wav")}
    with pytest.raises(WavemillError) as caught:
        enhance.check(Item("0" * 64, "a", "enhance", "gtcrn", options(), inputs))
    assert (caught.value.code, caught.value.field) == ("bad_option", "denoise")
    for wanted in ("denoise", "clarity", "super_resolution"):
        enhance.check(Item("0" * 64, "a", "enhance", "gtcrn", options(**{wanted: True}), inputs))


@pytest.mark.parametrize("strength", ["0", "4", "much"])
def test_a_strength_beside_one_to_three_is_refused(strength: str) -> None:
    with pytest.raises(WavemillError) as caught:
        options(strength=strength)
    assert (caught.value.code, caught.value.field) == ("bad_option", "strength")


def test_what_nothing_is_asked_of_is_passed_on_as_it_is() -> None:
    given = tone(0.5)
    assert np.array_equal(enhance.finish(given, given.samples, options()).samples, given.samples)


def test_clarity_that_would_clip_is_held_at_full_scale_without_a_step() -> None:
    given = tone(0.95)
    heard = enhance.finish(given, given.samples, options(clarity=True, strength=3))
    assert 0.9 < np.abs(heard.samples).max() <= 1.0
    middle = heard.samples[0, 4000:-4000]
    assert np.std(middle) == pytest.approx(np.abs(middle).max() / np.sqrt(2), rel=0.02), "a clipped sine is no sine"
    assert not heard.samples[1].any()


def test_peaks_over_full_scale_that_were_given_are_no_reason_to_turn_down() -> None:
    given = tone(1.4)
    heard = enhance.finish(given, given.samples, options(clarity=True))
    assert 1.3 < np.abs(heard.samples).max() <= np.abs(given.samples).max()


def test_a_band_that_the_source_had_is_not_made_anew_when_noise_was_in_it() -> None:
    given = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, (1, RATE_HZ)).astype(np.float32), RATE_HZ)
    assert np.array_equal(enhance.finish(given, tone(0.5).samples[:1], options(super_resolution=True)).samples, tone(0.5).samples[:1])


def test_super_resolution_fills_the_band_that_a_source_of_a_low_rate_lacks() -> None:
    rate_hz, sound = 48000, np.random.default_rng(0).standard_normal(24000)
    spectrum = np.fft.rfft(sound)
    spectrum[8000 // 2 :] = 0  # bins of 2 Hz: nothing from 8 kHz on
    narrow = Audio((0.1 * np.fft.irfft(spectrum)[None]).astype(np.float32), rate_hz)

    def level_db(audio: Audio) -> float:
        power = np.square(np.abs(np.fft.rfft(audio.samples[0])))
        return float(10 * np.log10(power[9000 // 2 : 11000 // 2].mean() / power[5000 // 2 : 7000 // 2].mean()))

    assert level_db(enhance.finish(narrow, narrow.samples, options())) < -60
    assert level_db(enhance.finish(narrow, narrow.samples, options(super_resolution=True))) > -20
