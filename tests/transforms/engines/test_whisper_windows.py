"""Windows: all speech is in one of them once, none is too long, and every word finds its place again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms.engines import whisper_windows as windows
from transforms.engines.whisper_windows import RATE_HZ, WINDOW, Window
from transforms.segments import Word
from transforms.vad import Span

LONGEST = int(windows.MAX_SPEECH_S * RATE_HZ)


@st.composite
def speech(draw: st.DrawFn, most: int = 30) -> tuple[list[Span], int]:
    """Spans of speech in order, and the frames of the audio they are in."""
    spans, at = [], 0
    for _ in range(draw(st.integers(0, most))):
        start = at + draw(st.integers(0, 5 * RATE_HZ))
        at = start + draw(st.integers(1, LONGEST) | st.integers(1, 3 * RATE_HZ))
        spans.append((start, at))
    return spans, at + draw(st.integers(0, RATE_HZ))


@given(speech())
def test_all_speech_is_in_one_window_once_and_in_order(given: tuple[list[Span], int]) -> None:
    spans, frames = given
    laid = windows.lay_out(0, spans, frames)
    parts = [part for window in laid for part in window.parts]
    assert all(window.frames <= WINDOW for window in laid)
    assert all(0 <= part.start < part.end <= frames for part in parts)
    assert all(a.end <= b.start for a, b in pairwise(parts))
    assert all(any(part.start <= a and b <= part.end for part in parts) for a, b in spans)
    assert all(a.stop == b.at for window in laid for a, b in pairwise(window.parts))


@given(st.lists(speech(most=4), min_size=1, max_size=12), st.data())
def test_a_word_finds_its_piece_and_its_time_again(pieces: list[tuple[list[Span], int]], data: st.DataObject) -> None:
    laid = [window for n, (spans, frames) in enumerate(pieces) for window in windows.lay_out(n, spans, frames)]
    packed = windows.pack(laid, 10 * RATE_HZ)
    assert sorted(part.piece for w in packed for part in w.parts) == sorted(part.piece for w in laid for part in w.parts)
    for window in packed:
        assert window.frames <= WINDOW
        part = data.draw(st.sampled_from(window.parts))
        at, length = part.start, min(part.end - part.start, 4000)
        heard = Word((part.at + 1) / RATE_HZ, (part.at + length) / RATE_HZ, " word", 1.0)
        owners = [piece for piece in window.pieces if window.words_of(piece, [heard])]
        assert owners == [part.piece]
        (word,) = window.words_of(part.piece, [heard])
        assert word.start * RATE_HZ == pytest.approx(min(at + 1, part.end), abs=1)
        assert word.end * RATE_HZ == pytest.approx(at + length, abs=1)


def test_the_sound_of_a_window_is_that_of_its_parts_with_silence_between_pieces() -> None:
    samples = [np.full(RATE_HZ, 0.1 * (n + 1), np.float32) for n in range(3)]
    laid = [windows.lay_out(n, [(100, 12000)], RATE_HZ)[0] for n in range(3)]
    (window,) = windows.pack(laid, RATE_HZ * 2)
    sound = window.audio(samples)
    assert window.pieces == [0, 1, 2]
    for part in window.parts:
        assert np.array_equal(sound[part.at : part.stop], samples[part.piece][part.start : part.end])
    for before, after in pairwise(window.parts):
        assert after.at - before.stop == windows.GAP
        assert not sound[before.stop : after.at].any()


def test_a_window_ends_at_the_longest_pause_of_its_last_quarter() -> None:
    second = RATE_HZ
    starts = [0, 5.2, 10.4, 15.6, 20.8, 26.6, 31.8]  # the fifth is followed by .8 s, the others by .2 s
    laid = windows.lay_out(0, [(round(s * second), round((s + 5) * second)) for s in starts], 40 * second)
    assert [len(window.parts) for window in laid] == [5, 2]


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 3)), max_size=10), st.lists(st.floats(0, 60), max_size=20).map(sorted))
def test_coverage_is_a_share(given: list[tuple[float, float]], times: list[float]) -> None:
    spans, at = [], 0.0
    for pause, length in given:
        spans.append((at + pause, at + pause + length))
        at += pause + length
    words = [Word(t, t + 0.2, " a", 1.0) for t in times]
    share = windows.coverage(spans, words)
    assert 0 <= share <= 1 + 1e-9
    assert windows.coverage(spans, [*words, Word(60.0, 60.1, " b", 1.0)]) >= share - 1e-9


def test_coverage_counts_the_voiced_time_that_has_words() -> None:
    spans = [(0.0, 10.0), (20.0, 30.0)]
    words = [Word(n / 2, n / 2 + 0.4, " a", 1.0) for n in range(20)]
    assert windows.coverage(spans, words) == pytest.approx((10 + 0) / 20, abs=0.01)
    assert windows.coverage(spans, []) == 0
    assert windows.coverage([], words) == 1


def test_a_word_that_reaches_into_a_neighbour_is_noticed() -> None:
    laid = [windows.lay_out(n, [(0, 3 * RATE_HZ)], 3 * RATE_HZ)[0] for n in range(3)]
    (window,) = windows.pack(laid, 10 * RATE_HZ)
    first, second, third = window.parts
    inside = Word(first.at / RATE_HZ + 0.5, first.stop / RATE_HZ, " a", 1.0)
    over = Word(second.stop / RATE_HZ - 0.9, third.at / RATE_HZ + 0.9, " b", 1.0)
    assert window.straddles([inside]) == set()
    assert window.straddles([inside, over]) == {1, 2}


def test_a_piece_over_the_limit_keeps_its_window_to_itself() -> None:
    long, short = (Window(windows.lay_out(n, [(0, s * RATE_HZ)], s * RATE_HZ)[0].parts) for n, s in enumerate((12, 3)))
    assert windows.pack([long, short], 10 * RATE_HZ) == [long, short]
