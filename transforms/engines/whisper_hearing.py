"""How pieces are heard: speech laid into windows, the windows decoded some at a time, and each held against its speech.

Batched decoding can drop speech without a word. So where too little of a window's voiced time has words, or they go round in
a loop, the window is heard again by itself, sequentially, and what covers more is kept.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from transforms import vad
from transforms.engines import whisper_windows as windows
from transforms.engines.whisper_model import LOOPING, Heard, Language, WhisperModel
from transforms.engines.whisper_windows import RATE_HZ, Window
from transforms.records import Audio, Outcome, Result
from transforms.segments import Word, join_texts, make_segments, settle

COVERED = 0.8
"""The least share of a window's voiced time that must have words."""
SHORT = 10 * RATE_HZ
"""Frames of speech under which a piece may share its window with others."""


class Hearing:
    """One `run` over pieces that have the same options."""

    def __init__(self, model: WhisperModel, options: Any, audios: Sequence[Audio]) -> None:
        self.model, self.options, self.audios = model, options, audios
        self.samples = [audio.samples[0] for audio in audios]
        known = options.language or (None if model.multilingual else "en")
        self.languages: list[Language | None] = [Language(known) if known else None for _ in audios]
        self.words: list[list[Word]] = [[] for _ in audios]
        self.spans: list[list[vad.Span]] = [[] for _ in audios]
        self.retried = [0 for _ in audios]

    def results(self) -> list[Outcome]:
        if self.options.vad:
            self._hear_speech()
        else:
            for piece, samples in enumerate(self.samples):
                self._keep(piece, self.model.hear_alone(samples, self.languages[piece], self.options))
        return [self._result(piece) for piece in range(len(self.audios))]

    def _hear_speech(self) -> None:
        singles: list[Window] = []
        for piece, audio in enumerate(self.audios):
            self.spans[piece] = vad.find_speech(audio, max_speech_s=windows.MAX_SPEECH_S)
            laid = windows.lay_out(piece, self.spans[piece], audio.frames)
            if len(laid) > 1:  # by itself, so that its text does not depend on its neighbours
                self._hear(laid)
            else:
                singles += laid
        # Only pieces whose language is known share a window: one window can be heard in one language only.
        again = self._hear(windows.pack([w for w in singles if self.languages[w.pieces[0]]], SHORT))
        self._hear([w for w in singles if not self.languages[w.pieces[0]] or w.pieces[0] in again])

    def _hear(self, laid: Sequence[Window]) -> set[int]:
        """Keep what windows hold. Returns the pieces of shared windows that must be heard again, each alone."""
        again: set[int] = set()
        size = self.options.batch_size
        for batch in (laid[start : start + size] for start in range(0, len(laid), size)):
            sounds = [window.audio(self.samples) for window in batch]
            owners = [window.pieces[0] for window in batch]
            found = self.model.hear(sounds, owners, [self.languages[owner] for owner in owners], self.options)
            for window, sound, heard in zip(batch, sounds, found, strict=True):
                if len(window.pieces) > 1:
                    again |= self._keep_shared(window, heard)
                else:
                    self._keep_checked(window, sound, heard)
        return again

    def _keep_shared(self, window: Window, heard: Heard) -> set[int]:
        doubtful = set(window.pieces) if _loops(heard.words) else window.straddles(heard.words)
        for piece in window.pieces:
            words = window.words_of(piece, heard.words)
            if piece in doubtful or self._coverage(window, piece, words) < COVERED:
                doubtful.add(piece)
            else:
                self._keep(piece, Heard(heard.language, words))
        return doubtful

    def _keep_checked(self, window: Window, sound: np.ndarray, heard: Heard) -> None:
        piece = window.pieces[0]
        quality = self._quality(window, heard)
        if quality < (True, COVERED):
            self.retried[piece] += 1
            other = self.model.hear_alone(sound, heard.language, self.options)
            heard = max((heard, other), key=lambda one: self._quality(window, one))
        self._keep(piece, Heard(heard.language, window.words_of(piece, heard.words)))

    def _quality(self, window: Window, heard: Heard) -> tuple[bool, float]:
        piece = window.pieces[0]
        return not _loops(heard.words), self._coverage(window, piece, window.words_of(piece, heard.words))

    def _keep(self, piece: int, heard: Heard) -> None:
        self.languages[piece] = self.languages[piece] or heard.language
        self.words[piece] += heard.words

    def _coverage(self, window: Window, piece: int, words: Sequence[Word]) -> float:
        return windows.coverage(window.voiced(piece, self.spans[piece]), words)

    def _result(self, piece: int) -> Result:
        duration_s = self.audios[piece].duration_s
        language = self.languages[piece] if self.words[piece] or self.options.language else None
        words = settle(self.words[piece], duration_s)
        spans_s = [(a / RATE_HZ, b / RATE_HZ) for a, b in self.spans[piece]]
        return Result(
            {
                "text": join_texts((word.word for word in words), ""),
                "language": language.code if language else None,
                "language_probability": language.probability if language else None,
                "duration_s": duration_s,
                "segments": make_segments(words),
                "voiced_s": sum(b - a for a, b in spans_s),
                "coverage": windows.coverage(spans_s, words) if spans_s else None,
                "retried": self.retried[piece],
                "speech": spans_s,
            }
        )


def _loops(words: Sequence[Word]) -> bool:
    text = "".join(word.word for word in words).encode()
    return len(text) > LOOPING * len(zlib.compress(text))
