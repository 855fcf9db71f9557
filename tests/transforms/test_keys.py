"""Keys on the Camelot wheel, and the key of given pitch classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms.keys import KEYS, PROFILES, STEPS, Key, find_key

keys = st.sampled_from(KEYS)
C_MAJOR, A_MINOR = Key(0, "Major"), Key(9, "Minor")


def fine(semitones: tuple[float, ...], cents: int = 0) -> np.ndarray:
    """A fine profile in which each pitch class stands `cents` (a multiple of 100 / STEPS) above its place."""
    made = np.zeros(12 * STEPS)
    made[::STEPS] = semitones
    return np.roll(made, cents * STEPS // 100)


def test_c_major_is_8b_and_goes_with_its_fifths_and_its_relative() -> None:
    assert C_MAJOR.camelot == "8B"
    assert [str(key) for key in C_MAJOR.compatible] == ["C Major", "G Major", "F Major", "A Minor"]
    assert A_MINOR.camelot == "8A"
    assert [str(key) for key in A_MINOR.compatible] == ["A Minor", "E Minor", "D Minor", "C Major"]
    assert [Key(tonic, "Major").camelot for tonic in (11, 6, 1, 4)] == ["1B", "2B", "3B", "12B"]
    assert [Key(tonic, "Minor").camelot for tonic in (8, 3, 1)] == ["1A", "2A", "12A"]


def test_each_key_has_a_place_of_its_own_on_the_wheel() -> None:
    assert {key.camelot for key in KEYS} == {f"{number}{letter}" for number in range(1, 13) for letter in "AB"}
    assert len({str(key) for key in KEYS}) == 24


@given(keys)
def test_keys_that_go_together_are_one_step_apart_on_the_wheel(key: Key) -> None:
    number, letter = int(key.camelot[:-1]), key.camelot[-1]
    itself, up, down, relative = key.compatible
    assert itself == key
    assert up.camelot == f"{number % 12 + 1}{letter}"
    assert down.camelot == f"{(number - 2) % 12 + 1}{letter}"
    assert relative.camelot == f"{number}{'AB'.replace(letter, '')}"
    assert all(key in other.compatible for other in key.compatible)


@given(keys, st.integers(-4, 4).map(lambda step: step * 100 // STEPS))
def test_a_key_is_found_in_its_own_profile_however_it_is_tuned(key: Key, cents: int) -> None:
    found, sure = find_key(fine(tuple(np.roll(PROFILES[key.scale], key.tonic)), cents))
    assert found == key
    assert sure > 0.5


@given(st.lists(st.integers(0, 1000), min_size=12 * STEPS, max_size=12 * STEPS), st.integers(0, 11))
def test_what_is_transposed_is_in_the_transposed_key(pitches: list[int], semitones: int) -> None:
    key, sure = find_key(pitches)
    moved, as_sure = find_key(np.roll(pitches, semitones * STEPS).tolist())
    assert as_sure == pytest.approx(sure, abs=2e-3)
    if key and sure > 0.01:
        assert moved == Key((key.tonic + semitones) % 12, key.scale)


def test_pitch_classes_without_a_preference_are_in_no_key() -> None:
    assert find_key([0.0] * 12 * STEPS) == (None, 0.0)
    assert find_key([1.0] * 12 * STEPS) == (None, 0.0)
