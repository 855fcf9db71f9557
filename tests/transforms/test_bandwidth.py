"""A band that is missing is known and filled; one that is there is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import soxr

from transforms import bandwidth

RATE_HZ = 48000


def narrow(from_hz: int, seconds: float = 2.0) -> np.ndarray:
    """Noise that falls by 12 dB an octave, of a source at `from_hz`, at 48 kHz."""
    drawn = np.random.default_rng(1).standard_normal(round(seconds * from_hz))
    spectrum = np.fft.rfft(drawn)
    hz = np.fft.rfftfreq(len(drawn), 1 / from_hz)
    source = np.fft.irfft(spectrum / np.maximum(1, hz / 500) ** 2, len(drawn))
    return soxr.resample(source / np.abs(source).max() / 2, from_hz, RATE_HZ).astype(np.float32)[None]


def band_db(samples: np.ndarray, low_hz: float, high_hz: float) -> float:
    power = np.square(np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1]))))
    hz = np.fft.rfftfreq(samples.shape[1], 1 / RATE_HZ)
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].mean() + 1e-20))


@pytest.mark.parametrize("from_hz", [8000, 16000, 22050])
def test_the_edge_of_a_low_rate_is_found(from_hz: int) -> None:
    assert bandwidth.edge_hz(narrow(from_hz), RATE_HZ) == pytest.approx(from_hz / 2, rel=0.1)


def test_a_full_band_and_silence_lack_nothing() -> None:
    full, silent = narrow(RATE_HZ), np.zeros((2, RATE_HZ), np.float32)
    for samples in (full, silent):
        edge = bandwidth.edge_hz(samples, RATE_HZ)
        assert edge >= bandwidth.FULL * RATE_HZ / 2
        assert bandwidth.extend(samples, RATE_HZ, edge) is samples


@pytest.mark.parametrize("from_hz", [8000, 16000])
def test_an_octave_is_added_that_goes_on_as_the_band_fell_and_the_band_stays(from_hz: int) -> None:
    given, edge = narrow(from_hz), from_hz / 2
    made = bandwidth.extend(given, RATE_HZ, bandwidth.edge_hz(given, RATE_HZ))
    assert made.shape == given.shape and made.dtype == np.float32
    assert band_db(made, 1.1 * edge, 1.7 * edge) > band_db(given, 1.1 * edge, 1.7 * edge) + 40
    truth = narrow(RATE_HZ)  # what fell on in the same way to the top
    fall = band_db(truth, 0.7 * edge, 0.85 * edge) - band_db(truth, 1.2 * edge, 1.6 * edge)
    assert band_db(made, 0.7 * edge, 0.85 * edge) - band_db(made, 1.2 * edge, 1.6 * edge) == pytest.approx(fall, abs=6)
    assert band_db(made - given, 0, 0.8 * edge) < band_db(given, 0, 0.8 * edge) - 60
    assert band_db(made, 2.2 * edge, RATE_HZ / 2) < band_db(made, 1.2 * edge, 1.6 * edge) - 40


@pytest.mark.parametrize("frames", [1, 10, 600])
def test_a_moment_of_audio_is_kept_in_its_length(frames: int) -> None:
    made = bandwidth.extend(narrow(8000)[:, :frames], RATE_HZ, 4000.0)
    assert made.shape == (1, frames)
    assert bandwidth.edge_hz(made, RATE_HZ) > 0


def test_a_band_with_a_hole_in_it_is_filled_without_a_burst() -> None:
    given = narrow(16000)
    spectrum = np.fft.rfft(given[0])
    hz = np.fft.rfftfreq(given.shape[1], 1 / RATE_HZ)
    spectrum[(hz > 3700) & (hz < 5000)] = 0
    holed = np.fft.irfft(spectrum, given.shape[1]).astype(np.float32)[None]
    made = bandwidth.extend(holed, RATE_HZ, 7828.0)
    assert np.isfinite(made).all()
    assert np.std(made - holed) < 0.1 * np.std(holed)
