"""Loudness as BS.1770 defines it, and audio brought to a target without clipping."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings, strategies as st
from scipy.signal import lfilter

from transforms import loudness
from transforms.blocks import gather
from transforms.errors import WavemillError
from transforms.limiter import limit, true_peaks
from transforms.records import Audio


def sine(level_db: float, rate_hz: int = 48000, seconds: float = 5.0, channels: int = 1, pitch_hz: float = 997.0) -> Audio:
    at_s = np.arange(round(rate_hz * seconds)) / rate_hz
    one = 10 ** (level_db / 20) * np.sin(2 * np.pi * pitch_hz * at_s)
    return Audio(np.repeat(one[None], channels, axis=0).astype(np.float32), rate_hz)


def speech(rate_hz: int = 24000, seconds: float = 4.0, channels: int = 1, seed: int = 0, level: float = 0.02) -> Audio:
    """Noise that swells and falls with the peaks of a voice: about 20 dB over its mean."""
    chance, frames = np.random.default_rng(seed), round(rate_hz * seconds)
    knots = np.arange(0, frames + rate_hz // 4, rate_hz // 8)
    swell = np.interp(np.arange(frames), knots, np.abs(chance.standard_normal(len(knots))))
    return Audio((level * lfilter([1], [1, -0.9], chance.laplace(size=(channels, frames)) * swell)).astype(np.float32), rate_hz)


def pieces(samples: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    chance, start = np.random.default_rng(seed), 0
    while start < samples.shape[1]:
        end = start + int(chance.integers(1, 20_000))
        yield samples[:, start:end]
        start = end


@pytest.mark.parametrize(("channels", "lufs"), [(1, -6.01), (2, -3.0)])
def test_a_sine_of_997_hz_at_minus_3_db_reads_what_the_standard_says(channels: int, lufs: float) -> None:
    measured = loudness.measure(sine(-3.0, channels=channels))
    assert measured.lufs == pytest.approx(lufs, abs=0.01)
    assert measured.true_peak_dbtp == pytest.approx(-3.0, abs=0.02)


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 24000, 44100, 96000])
def test_the_sine_reads_the_same_at_every_rate(rate_hz: int) -> None:
    measured = loudness.measure(sine(-23.0, rate_hz, channels=2))
    assert measured.lufs == pytest.approx(-23.0, abs=0.05)
    assert measured.true_peak_dbtp == pytest.approx(-23.0, abs=0.1)


@given(st.sampled_from((8000, 11025, 24000, 44100, 48000)), st.integers(1, 5), st.integers(5, 60), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_by_blocks_it_reads_what_pyloudnorm_reads_of_the_whole(rate_hz: int, channels: int, tenths: int, seed: int) -> None:
    audio = speech(rate_hz, tenths / 10, channels, seed)
    measured = loudness.measure_blocks(pieces(audio.samples, seed), rate_hz, channels)
    whole = pyloudnorm.Meter(rate_hz, filter_class="DeMan")
    whole_lufs = whole.integrated_loudness(audio.samples.T.astype(np.float64))
    if channels == 4:  # pyloudnorm takes the fourth of four for a surround channel
        assert measured.lufs == pytest.approx(whole_lufs, abs=0.5)
    else:
        assert measured.lufs == pytest.approx(whole_lufs, abs=0.02)


def test_the_filters_go_on_from_block_to_block() -> None:
    offset = Audio(speech(24000, 5).samples + np.float32(0.3), 24000)  # a filter that starts anew lets the offset in again
    whole = pyloudnorm.Meter(24000, filter_class="DeMan").integrated_loudness(offset.samples.T.astype(np.float64))
    assert loudness.measure_blocks(pieces(offset.samples), 24000, 1).lufs == pytest.approx(whole, abs=0.01)


@pytest.mark.parametrize("rate_hz", [24000, 44100, 48000])
def test_pyloudnorms_other_filter_is_within_a_tenth(rate_hz: int) -> None:
    audio = speech(rate_hz, 7.13, 2)
    default = pyloudnorm.Meter(rate_hz).integrated_loudness(audio.samples.T.astype(np.float64))
    assert loudness.measure(audio).lufs == pytest.approx(default, abs=0.1)


def test_the_gate_leaves_silence_between_words_out() -> None:
    word = sine(-20.0, seconds=4).samples
    gaps = Audio(np.concatenate((word, np.zeros((1, 48000 * 8), np.float32), word), axis=1), 48000)
    assert loudness.measure(gaps).lufs == pytest.approx(loudness.measure(sine(-20.0)).lufs, abs=0.2)


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.39])
def test_a_clip_shorter_than_a_gating_block_is_one_block(seconds: float) -> None:
    assert loudness.measure(sine(-20.0, seconds=seconds)).lufs == pytest.approx(-23.01, abs=0.5)


@pytest.mark.parametrize("frames", [0, 1, 24000])
def test_silence_has_no_loudness_and_stays_silence(frames: int) -> None:
    silence = Audio(np.zeros((2, frames), np.float32), 24000)
    assert loudness.measure(silence) == loudness.Loudness(-math.inf, -math.inf)
    result, measured = loudness.normalize(silence, -16, -1)
    assert measured.lufs == -math.inf
    assert np.array_equal(result.samples, silence.samples)


def test_a_peak_between_the_samples_is_seen() -> None:
    # a quarter of the rate, sampled 45 degrees off its crests: every sample is 3 dB under the wave
    wave = np.sin(np.pi / 2 * np.arange(48000) + np.pi / 4) * np.hanning(48000)
    audio = Audio((0.5 * wave[None]).astype(np.float32), 48000)
    assert 20 * math.log10(np.abs(audio.samples).max()) == pytest.approx(-9.03, abs=0.01)
    assert loudness.measure(audio).true_peak_dbtp == pytest.approx(-6.02, abs=0.05)


def test_a_rate_without_a_filter_is_refused() -> None:
    with pytest.raises(WavemillError) as caught:
        loudness.measure(sine(-3, 2000))
    assert caught.value.code == "bad_option"


@given(
    st.sampled_from((16000, 24000, 44100)), st.integers(1, 2), st.floats(0.5, 5), st.floats(-30, -16), st.floats(-6, -1),
    st.floats(0.001, 0.3), st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_target_is_met_under_the_ceiling_and_the_measure_is_true(
    rate_hz: int, channels: int, seconds: float, lufs: float, peak: float, level: float, seed: int
) -> None:
    audio = speech(rate_hz, seconds, channels, seed, level)
    result, said = loudness.normalize(audio, lufs, peak)
    again = loudness.measure(result)
    assert result.samples.shape == audio.samples.shape
    assert again.lufs == pytest.approx(said.lufs, abs=0.05)
    assert again.true_peak_dbtp == pytest.approx(said.true_peak_dbtp, abs=0.05)
    assert again.true_peak_dbtp <= peak + 0.01
    source = loudness.measure(audio)
    cut_db = source.true_peak_dbtp + (lufs - source.lufs) - peak
    if cut_db <= 6:
        assert abs(again.lufs - lufs) <= 0.5


def test_gain_alone_changes_nothing_but_the_level() -> None:
    audio = sine(-30.0, channels=2)
    result, _ = loudness.normalize(audio, -20, -1)
    ratio = result.samples[:, 100:200] / audio.samples[:, 100:200]
    assert np.allclose(ratio, ratio[0, 0], rtol=1e-4)


def test_what_cannot_be_reached_without_crushing_is_said() -> None:
    audio = speech(seconds=5)
    result, said = loudness.normalize(audio, -3, -1)
    assert said.lufs < -6
    assert said.true_peak_dbtp <= -1
    source = loudness.measure(audio)
    gain = loudness.fit(lambda: pieces(audio.samples), audio.rate_hz, 1, -3, -1)
    assert source.true_peak_dbtp + gain.gain_db - -1 == pytest.approx(12, abs=0.01)
    assert loudness.measure(result).lufs == pytest.approx(said.lufs, abs=0.05)


@given(st.integers(0, 99), st.floats(1, 4), st.floats(0.1, 0.9), st.integers(1, 70_000))
@settings(max_examples=20, deadline=None)
def test_the_limiter_holds_the_ceiling_at_any_cut_and_keeps_the_length(seed: int, gain: float, ceiling: float, frames: int) -> None:
    samples = speech(16000, frames / 16000, 2, seed, 0.1).samples
    limited = np.concatenate(list(limit(pieces(samples, seed), 16000, gain, ceiling)), axis=1)
    assert limited.shape == samples.shape
    assert true_peaks(limited).max() <= ceiling * 1.006
    whole = np.concatenate(list(limit([samples], 16000, gain, ceiling)), axis=1)
    assert np.abs(whole - limited).max() < 1e-4


def test_the_limiters_gain_is_smooth_and_one_for_all_channels() -> None:
    loud = sine(-12.0, 24000, 2.0, channels=2).samples.copy()
    loud[0, 24000:24240] *= 4
    limited = np.concatenate(list(limit([loud], 24000, 1.0, 0.5)), axis=1)
    left, right = (np.where(np.abs(loud[c]) > 0.05, limited[c] / np.where(loud[c] == 0, 1, loud[c]), np.nan) for c in (0, 1))
    both = ~np.isnan(left) & ~np.isnan(right)
    assert np.allclose(left[both], right[both], atol=1e-4)
    steps = np.abs(np.diff(right[~np.isnan(right)]))
    assert steps.max() < 0.02
    assert right[both][0] == right[both][-1] == pytest.approx(1.0)


def test_hours_are_fitted_by_blocks_as_a_whole_is() -> None:
    audio = speech(seconds=30, level=0.05)
    result, said = loudness.normalize(audio, -16, -1)
    passes = 0

    def make() -> Iterator[np.ndarray]:
        nonlocal passes
        passes += 1
        return pieces(audio.samples, 3)

    gain = loudness.fit(make, audio.rate_hz, audio.channels, -16, -1)
    assert 2 <= passes <= 6
    assert gain.loudness.lufs == pytest.approx(said.lufs, abs=0.01)
    written = np.concatenate(list(gain.apply(pieces(audio.samples, 4))), axis=1)
    assert np.abs(written - result.samples).max() < 1e-3
    passes = 0
    loudness.fit(make, audio.rate_hz, audio.channels, -40, -1)
    assert passes == 1


def test_a_map_is_measured_as_the_samples_it_holds() -> None:
    audio = speech(seconds=20, channels=2)
    mapped = gather(pieces(audio.samples), audio.rate_hz, 2, spill_bytes=1000)
    assert isinstance(mapped.samples, np.memmap)
    assert loudness.measure(mapped) == loudness.measure(audio)
