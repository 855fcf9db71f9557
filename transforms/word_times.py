"""When each word of a text is spoken, from how long each of its phonemes is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Span = tuple[float, float]


def words(text: str, parts: Sequence[str], durations: Sequence[Sequence[float]], groups_of: Callable[[str], int]) -> list[dict[str, Any]]:
    """Each word of `text` as `{word, start, end}` in seconds from where its sound begins; a word is what stands between spaces.

    `parts` are its phonemes, said one part after the other, and `durations` the seconds of each of a part's phonemes, with
    those of the silence before and after. Spaces part the phonemes' groups, of which a word has usually one; where it is not
    so `groups_of` says how many a word has, and where that does not add up either, time is shared out by letters.
    """
    said = [word for word in text.split() if any(sign.isalnum() for sign in word)]
    spans = _groups(parts, durations)
    counts = [1] * len(said)
    if len(spans) != len(said):
        counts = [groups_of(word) for word in said]
    if len(spans) == sum(counts) and all(counts):
        ends = [sum(counts[: n + 1]) for n in range(len(said))]
        times = [(spans[end - count][0], spans[end - 1][1]) for end, count in zip(ends, counts, strict=True)]
    else:
        times = _shared(said, spans)
    return [{"word": word, "start": start, "end": end} for word, (start, end) in zip(said, times, strict=True)]


def _groups(parts: Sequence[str], durations: Sequence[Sequence[float]]) -> list[Span]:
    """The spans of what stands between spaces and has a letter in it, punctuation at its ends left out."""
    found: list[Span] = []
    at_s = 0.0
    for part, seconds in zip(parts, durations, strict=True):
        at_s += seconds[0]
        group: list[tuple[str, Span]] = []
        for symbol, lasts_s in zip(part + " ", [*seconds[1:-1], 0.0], strict=True):
            if symbol != " ":
                group.append((symbol, (at_s, at_s + lasts_s)))
            else:
                letters = [span for inside, span in group if inside.isalpha()]
                found += [(letters[0][0], letters[-1][1])] if letters else []
                group = []
            at_s += lasts_s
        at_s += seconds[-1]
    return found


def _shared(said: Sequence[str], spans: Sequence[Span]) -> list[Span]:
    """The time from the first span to the last, shared out by the words' lengths."""
    if not spans:
        return [(0.0, 0.0)] * len(said)
    first_s, last_s = spans[0][0], spans[-1][1]
    letter_s = (last_s - first_s) / sum(map(len, said))
    ends = [first_s + letter_s * sum(map(len, said[: n + 1])) for n in range(len(said))]
    return [(end - letter_s * len(word), end) for word, end in zip(said, ends, strict=True)]
