"""Tempo and meter from autocorrelations whose pulse is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms.meter import LAG_S, LAGS, RANGES, find_meter

FRAMES = 4000


def accents(bpm: float, beats: int) -> np.ndarray:
    """Onset strengths of beats whose first of `beats` is the strongest, and of weak eighths between them."""
    made = np.zeros(FRAMES)
    for eighth, at in enumerate(np.arange(0, FRAMES - 2, 30 / bpm / LAG_S)):
        strength = 1.0 if eighth % (2 * beats) == 0 else 0.5 if eighth % 2 == 0 else 0.2
        made[int(at)] += strength * (1 - at % 1)
        made[int(at) + 1] += strength * (at % 1)
    return np.convolve(made - made.mean(), np.hanning(9), "same")


def products(strengths: np.ndarray) -> np.ndarray:
    """Their autocorrelation, the same in every range."""
    return np.tile(np.fft.irfft(np.abs(np.fft.rfft(strengths, 2 * len(strengths))) ** 2)[:LAGS], (RANGES, 1))


@given(st.floats(85, 160), st.sampled_from([3, 4]))
def test_the_tempo_of_clear_beats_is_found_to_a_hundredth_at_one_level_or_another(bpm: float, beats: int) -> None:
    found = find_meter(products(accents(bpm, beats)), [FRAMES])
    assert found is not None
    assert min(abs(found.bpm / bpm / level - 1) for level in (1, 2, 3, 1 / 2, 1 / 3, 2 / 3, 3 / 2)) < 0.005
    assert found.clarity > 0.3


@pytest.mark.parametrize(("beats", "signature"), [(3, "3/4"), (4, "4/4")])
def test_where_accents_return_after_three_beats_the_meter_is_three_four(beats: int, signature: str) -> None:
    found = find_meter(products(accents(120.0, beats)), [FRAMES])
    assert found is not None
    assert found.bpm == pytest.approx(120, rel=0.005)
    assert found.signature == signature
    assert found.signature_confidence > 0.4


def band(bpm: float) -> np.ndarray:
    """Bass on the first and third of four beats, a snare on the others, cymbals on eighths, each in its range of its own."""
    made = np.zeros((RANGES, FRAMES))
    for eighth, at in enumerate(np.arange(0, FRAMES - 2, 30 / bpm / LAG_S)):
        of_bar = eighth % 8
        for part, strength in ((0, {0: 1.0, 4: 0.7}.get(of_bar, 0)), (1, float(of_bar in (2, 6))), (2, 0.0 if of_bar % 2 else 0.4)):
            made[part, int(at)] += strength
        made[3, int(at)] += 0.3 if of_bar % 2 else 0.4
    played = np.array([np.convolve(one - one.mean(), np.hanning(9), "same") for one in made])
    return np.array([products(one)[0] for one in played])


@pytest.mark.parametrize("bpm", [66.0, 75.0, 84.0, 92.0, 132.0, 150.0, 168.0])
def test_what_the_ranges_do_apart_tells_slow_beats_from_the_eighths_between_them(bpm: float) -> None:
    found = find_meter(band(bpm), [FRAMES])
    assert found is not None
    assert found.bpm == pytest.approx(bpm, rel=0.005)
    assert found.signature == "4/4"


def test_a_loud_range_drowns_no_other_and_a_silent_one_says_nothing() -> None:
    apart = band(75.0)
    plain = find_meter(apart, [FRAMES])
    loud = find_meter(apart * [[1.0], [1.0], [1.0], [1000.0]], [FRAMES])
    assert plain is not None and loud is not None
    assert (loud.bpm, loud.signature) == (pytest.approx(plain.bpm, rel=0.002), plain.signature)
    rubbish = np.random.default_rng(0).standard_normal(LAGS) * 1e-9 * apart.max()
    assert find_meter(np.array([*apart[:3], rubbish]), [FRAMES]) == find_meter(np.array([*apart[:3], 0 * rubbish]), [FRAMES])


def test_pieces_add_up_to_what_the_whole_says() -> None:
    strengths = accents(120.0, 4)
    whole = find_meter(products(strengths), [FRAMES])
    halves = find_meter(products(strengths[: FRAMES // 2]) + products(strengths[FRAMES // 2 :]), [FRAMES // 2] * 2)
    assert whole is not None and halves is not None
    assert halves.bpm == pytest.approx(whole.bpm, rel=0.002)
    assert halves.signature == whole.signature
    assert halves.clarity == pytest.approx(whole.clarity, abs=0.03)


def test_noise_has_a_tempo_that_nobody_is_sure_of() -> None:
    drawn = np.random.default_rng(0).standard_normal(FRAMES)
    found = find_meter(products(drawn), [FRAMES])
    assert found is not None
    assert found.clarity < 0.05
    assert found.signature_confidence < 0.3


def test_where_nothing_begins_there_is_no_tempo() -> None:
    assert find_meter([[0.0] * LAGS] * RANGES, [0]) is None
    assert find_meter([[0.0] * LAGS] * RANGES, [FRAMES]) is None
