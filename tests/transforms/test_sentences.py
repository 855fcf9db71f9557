"""Text in pieces an engine can take."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, strategies as st

from transforms import sentences
from transforms.sentences import MAX_PAUSE_S, SHORT_BYTES

words = st.sampled_from(
    ["a", "The", "word", "Dr.", "end.", "what?", "no!", "so,", "yes;", "e.g.", "今日は。", "“x”", "(y).", "...", "x" * 90]
)
prose = st.lists(words, min_size=1, max_size=60).map(" ".join)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one\n\ntwo\n \n\nthree", ["one", "two", "three"]),
        ("A title\nIt begins.\nSaid he.", ["A title", "It begins.", "Said he."]),
        ("The line was wrapped\nin the middle.", ["The line was wrapped in the middle."]),
        ("A line of more than sixty characters that was wrapped before\nMary came.", 1),
        ("Item one\n\nitem two", ["Item one", "item two"]),
        (" \n\n ", []),
    ],
)
def test_paragraphs_are_parted_by_blank_lines_and_by_lines_that_were_not_wrapped(text: str, found: list[str] | int) -> None:
    got = sentences.paragraphs(text)
    assert len(got) == found if isinstance(found, int) else got == found


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("Doctor Smith went home. He slept.", "en", 2),
        ("Mr. Smith went to Washington.", "en", 1),
        ("It cost 3.50. Then more.", "en", 2),
        ('He said "Stop." She did.', "en", 2),
        ("¿Qué tal? ¡Bien! El Sr. López vino.", "es", 3),
        ("你好。我很好！是吗？", "zh", 3),
        ("नमस्ते। आप कैसे हैं?", "hi", 2),
        ("What now? Nobody knows.", "xx", 2),
    ],
)
def test_a_library_finds_the_sentences(text: str, language: str, count: int) -> None:
    assert len(sentences.sentences(text, language)) == count


@given(st.one_of(prose, st.text(st.characters(exclude_categories=["Cs", "Cc"]))), st.sampled_from(["en", "ja", "fr"]))
def test_sentences_lose_nothing(text: str, language: str) -> None:
    assert "".join("".join(sentences.sentences(text, language)).split()) == "".join(text.split())


@given(st.lists(prose, max_size=8), st.integers(5, 300))
def test_packed_sentences_are_the_sentences_and_short_ones_have_company(found: list[str], max_chars: int) -> None:
    packed = sentences.pack(found, max_chars)
    assert " ".join(packed) == " ".join(found)
    for left, right in itertools.pairwise(packed):
        together = len(left) + 1 + len(right)
        assert together > max_chars or len(left.encode()) >= SHORT_BYTES
    assert all(len(piece) <= max_chars or piece in found for piece in packed)


@given(prose, st.integers(1, 200))
def test_a_cut_sentence_loses_nothing_and_its_parts_fit(text: str, max_chars: int) -> None:
    parts = [part for part, _ in sentences.cut(text, max_chars)]
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert all(part and part == part.strip() and len(part) <= max_chars for part in parts)
    if max_chars > 90:
        assert " ".join(parts).split() == text.split()


def test_a_long_sentence_is_cut_at_clauses_then_spaces_then_anywhere_into_like_parts() -> None:
    clauses = sentences.cut("The rain fell on the roofs, the wind took the leaves, and the night came.", 40)
    assert clauses == [
        ("The rain fell on the roofs,", True),
        ("the wind took the leaves,", True),
        ("and the night came.", True),
    ]
    assert sentences.cut("one two three four five six", 14) == [("one two three", False), ("four five six", True)]
    assert [len(part) for part, _ in sentences.cut("x" * 1000, 400)] == [334, 333, 333]


def test_a_hundred_thousand_characters_without_a_space_are_cut_at_once() -> None:
    for text in ("x" * 100_000, "今日は。" * 25_000):
        began = time.process_time()
        parts = [part for found in sentences.sentences(text, "ja") for part, _ in sentences.cut(found, 400)]
        assert time.process_time() - began < 3
        assert "".join(parts) == text


@pytest.mark.parametrize(
    ("marker", "seconds"),
    [("[pause:0.5s]", 0.5), ("[pause:500ms]", 0.5), ("[PAUSE: 2 s]", 2), ("[pause:.25]", 0.25), ("[pause:99s]", MAX_PAUSE_S)],
)
def test_a_marker_is_a_pause_of_its_length_and_no_longer_than_the_cap(marker: str, seconds: float) -> None:
    assert list(sentences.pauses(f"a{marker}b")) == [("a", seconds), ("b", None)]


def test_what_is_no_marker_stays_text() -> None:
    for text in ("[pause]", "[pause:x]", "[a]", "pause:1s"):
        assert list(sentences.pauses(text)) == [(text, None)]
