"""Words with times as segments of about a sentence: what a reader or a caption takes at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

LONGEST_S, LONGEST_CHARS = 15.0, 200
PAUSE_S = 1.0
SENTENCE_ENDS = (".", "!", "?", "。", "！", "？", "…", "؟", "।")
CLAUSE_ENDS = (",", ";", ":", "，", "；", "：", "、", "،")
ABBREVIATIONS = "mr. mrs. ms. dr. prof. st. vs. etc. e.g. i.e. no. sr. jr. fig. inc. ltd. co. approx."
INITIALS = re.compile(r"(\w\.)+")
UNSPACED = frozenset(("zh", "yue", "ja", "th", "lo", "my"))
"""Languages written without spaces between words."""


class Word(NamedTuple):
    """A word as heard, with the space before it, and its times in seconds."""

    start: float
    end: float
    word: str
    probability: float


def settle(words: Iterable[Word], duration_s: float) -> list[Word]:
    """The same words with times that never go back and stay within the audio."""
    settled: list[Word] = []
    before = 0.0
    for word in words:
        start = min(max(word.start, before), duration_s)
        before = min(max(word.end, start), duration_s)
        settled.append(word._replace(start=start, end=before))
    return settled


def make_segments(words: Sequence[Word]) -> list[dict[str, Any]]:
    """Segments `{start, end, text, words}` that end with a sentence, at a pause, or before they grow too long."""
    segments: list[dict[str, Any]] = []
    begun: list[Word] = []
    for index, word in enumerate(words):
        begun.append(word)
        after = words[index + 1] if index + 1 < len(words) else None
        if after is None or after.start - word.end >= PAUSE_S or _ends_sentence(word.word, after.word):
            segments.append(_segment(begun))
            begun = []
        elif after.end - begun[0].start > LONGEST_S or sum(len(w.word) for w in begun) + len(after.word) > LONGEST_CHARS:
            cut = _best_cut(begun)
            segments.append(_segment(begun[:cut]))
            begun = begun[cut:]
    return segments


def _ends_sentence(word: str, after: str) -> bool:
    bare = word.strip().rstrip("\"'”’)]»」』")
    if not bare.endswith(SENTENCE_ENDS):
        return False
    if bare.lower() in ABBREVIATIONS.split() or INITIALS.fullmatch(bare):
        return False
    return not after.strip()[:1].islower()


def _best_cut(words: Sequence[Word]) -> int:
    """After the last clause of the second half, else after the longest pause there, else after all."""
    half = range(len(words) // 2 + 1, len(words) + 1)
    clauses = [n for n in half if words[n - 1].word.rstrip().endswith(CLAUSE_ENDS)]
    if clauses:
        return clauses[-1]
    inner = [n for n in half if n < len(words)]
    return max(inner, key=lambda n: words[n].start - words[n - 1].end, default=len(words))


def _segment(words: Sequence[Word]) -> dict[str, Any]:
    return {"start": words[0].start, "end": words[-1].end, "text": join_texts((w.word for w in words), ""), "words": [*words]}


def glue_of(language: str | None) -> str:
    """What stands between two texts of that language."""
    return "" if language in UNSPACED else " "


def join_texts(texts: Iterable[str], glue: str) -> str:
    """Texts one after the other with `glue` between them, and every run of white space one space."""
    return " ".join(glue.join(texts).split())
