"""How speech is laid into the windows of at most 30 s that Whisper hears, and how the words heard find back.

Long pauses are shortened, so a window holds more speech; several short pieces share a window where that is safe.
Positions are frames of 16 kHz audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np

from transforms.segments import Word
from transforms.vad import Span

RATE_HZ = 16000
WINDOW = 30 * RATE_HZ
MAX_SPEECH_S = 28.0
PAD = RATE_HZ // 2
"""What is kept around speech, so that no pause is longer than twice this."""
GAP = RATE_HZ // 2
"""Silence put between two pieces that share a window, besides their padding."""
REACH_S = 0.3
"""How far from a word voiced time still counts as the word's: alignment is no finer."""
FULL_ENOUGH = 0.75
"""A window with this share of its length may end at the longest pause that follows."""


@dataclass(frozen=True, slots=True)
class Part:
    """Frames `start` to `end` of a piece, which lie at frame `at` of a window."""

    piece: int
    start: int
    end: int
    at: int

    @property
    def stop(self) -> int:
        return self.at + self.end - self.start


@dataclass(frozen=True, slots=True)
class Window:
    parts: tuple[Part, ...]

    @property
    def frames(self) -> int:
        return self.parts[-1].stop

    @property
    def pieces(self) -> list[int]:
        return list(dict.fromkeys(part.piece for part in self.parts))

    def audio(self, samples: Sequence[np.ndarray]) -> np.ndarray:
        """The window's sound, float32 of shape (frames,), from the samples of each piece."""
        sound = np.zeros(self.frames, dtype=np.float32)
        for part in self.parts:
            sound[part.at : part.stop] = samples[part.piece][part.start : part.end]
        return sound

    def words_of(self, piece: int, words: Sequence[Word]) -> list[Word]:
        """Those of the window's words that are this piece's, in seconds of the piece."""
        found = []
        for word in words:
            middle = (word.start + word.end) / 2 * RATE_HZ
            part = next((part for part in self.parts if middle < part.stop), self.parts[-1])
            if part.piece == piece:
                shift = part.start - part.at
                start, end = (min(max(s * RATE_HZ + shift, part.start), part.end) / RATE_HZ for s in word[:2])
                found.append(word._replace(start=start, end=end))
        return found

    def voiced(self, piece: int, spans: Sequence[Span]) -> list[tuple[float, float]]:
        """The piece's speech that lies in this window, in seconds of the piece."""
        parts = [part for part in self.parts if part.piece == piece]
        return [
            (max(a, part.start) / RATE_HZ, min(b, part.end) / RATE_HZ)
            for part in parts
            for a, b in spans
            if a < part.end and b > part.start
        ]

    def straddles(self, words: Sequence[Word]) -> set[int]:
        """Pieces whose words reach more than the gap's middle into a neighbour."""
        found = set()
        for before, after in pairwise(self.parts):
            if before.piece != after.piece and any(
                w.start * RATE_HZ < before.stop - PAD and w.end * RATE_HZ > after.at + PAD for w in words
            ):
                found |= {before.piece, after.piece}
        return found


def with_pads(spans: Sequence[Span], frames: int) -> list[Span]:
    """Each span with what is around it, up to `PAD` and to the middle of a pause."""
    if not spans:
        return []
    middles = [(a[1] + b[0]) // 2 for a, b in pairwise(spans)]
    lows, highs = [0, *middles], [*middles, frames]
    return [(max(a - PAD, low), min(b + PAD, high)) for (a, b), low, high in zip(spans, lows, highs, strict=True)]


def lay_out(piece: int, spans: Sequence[Span], frames: int) -> list[Window]:
    """The windows of one piece, from its speech. A window ends at a long pause rather than when it is full."""
    padded = with_pads(spans, frames)
    pauses = [b[0] - a[1] for a, b in pairwise(spans)]
    windows, first = [], 0
    while first < len(padded):
        parts: list[Part] = []
        for start, end in padded[first:]:
            at = parts[-1].stop if parts else 0
            if parts and at + end - start > WINDOW:
                break
            parts.append(Part(piece, start, min(end, start + WINDOW), at))
        if first + len(parts) < len(padded):
            ends = [n for n in range(1, len(parts) + 1) if parts[n - 1].stop >= FULL_ENOUGH * WINDOW]
            parts = parts[: max(ends, key=lambda n: pauses[first + n - 1], default=len(parts))]
        windows.append(Window(tuple(parts)))
        first += len(parts)
    return windows


def pack(windows: Sequence[Window], longest: int) -> list[Window]:
    """The same with windows under `longest` frames put together; each piece must be whole in its window."""
    packed: list[Window] = []
    sharing: list[int] = []
    for window in windows:
        if window.frames >= longest:
            packed.append(window)
            continue
        index = next((i for i in sharing if packed[i].frames + GAP + window.frames <= WINDOW), None)
        if index is None:
            sharing.append(len(packed))
            packed.append(window)
        else:
            at = packed[index].frames + GAP
            moved = tuple(Part(part.piece, part.start, part.end, part.at + at) for part in window.parts)
            packed[index] = Window(packed[index].parts + moved)
    return packed


def coverage(spans_s: Sequence[tuple[float, float]], words: Sequence[Word]) -> float:
    """The share of the spans' time that has a word, or one within `REACH_S`; 1 where there are no spans."""
    texts: list[tuple[float, float]] = []
    for word in words:
        start, end = word.start - REACH_S, word.end + REACH_S
        if texts and start <= texts[-1][1]:
            texts[-1] = (texts[-1][0], max(end, texts[-1][1]))
        else:
            texts.append((start, end))
    voiced_s = sum(b - a for a, b in spans_s)
    return _overlap_s(spans_s, texts) / voiced_s if voiced_s else 1.0


def _overlap_s(spans: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> float:
    total, first = 0.0, 0
    for a, b in spans:
        while first < len(others) and others[first][1] <= a:
            first += 1
        for start, end in islice(others, first, None):
            if start >= b:
                break
            total += min(b, end) - max(a, start)
    return total
