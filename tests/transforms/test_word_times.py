"""Times of words from lengths of phonemes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from transforms.word_times import words


def timed(text: str, *parts: str, groups_of: Callable[[str], int] = lambda word: 1) -> list[tuple[str, float, float]]:
    """Every phoneme lasts .1 s, and half a second of silence is before and after each part."""
    durations = [[0.5, *[0.1] * len(part), 0.5] for part in parts]
    found: list[dict[str, Any]] = words(text, parts, durations, groups_of)
    return [(word["word"], round(word["start"], 3), round(word["end"], 3)) for word in found]


def test_a_word_lasts_from_its_first_phoneme_to_its_last_and_punctuation_is_no_part_of_that() -> None:
    assert timed('"Good day," he said.', "“ɡʊd dˈA,” hi sˈɛd.") == [
        ('"Good', 0.6, 0.9),
        ('day,"', 1.0, 1.3),
        ("he", 1.6, 1.8),
        ("said.", 1.9, 2.3),
    ]


def test_parts_follow_one_another_with_the_silence_of_both_between() -> None:
    assert timed("One. Two.", "wˈʌn.", "tˈu.") == [("One.", 0.5, 0.9), ("Two.", 2.0, 2.3)]


def test_what_cannot_be_spoken_is_no_word() -> None:
    assert [word for word, _, _ in timed("One — two …", "wˈʌn — tˈu …")] == ["One", "two"]


def test_a_word_that_is_said_in_several_takes_them_all() -> None:
    found = timed("In 1999 once", "ɪn nˌIntˈin nˈIndi nˈIn wˈʌns", groups_of=lambda word: 3 if word == "1999" else 1)
    assert found == [("In", 0.5, 0.7), ("1999", 0.8, 2.8), ("once", 2.9, 3.4)]


@pytest.mark.parametrize("count", [0, 2])
def test_where_words_and_groups_do_not_add_up_the_time_is_shared_out_by_letters(count: int) -> None:
    assert timed("ab abcd", "aaa bb c", groups_of=lambda word: count) == [("ab", 0.5, 0.767), ("abcd", 0.767, 1.3)]


def test_of_nothing_that_sounds_each_word_has_no_time() -> None:
    assert timed("a b", "!") == [("a", 0.0, 0.0), ("b", 0.0, 0.0)]
