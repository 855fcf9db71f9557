"""Speech written down while it is spoken: what two hearings agree on is final, the rest is partial and may change.

A session is a sequence of chunks of audio. Everything is decided on the clock of the audio itself, never on that of the machine, so
the same chunks give the same calls and the same messages wherever and however often they are worked. LocalAgreement-2 is that of
Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System" (2023); a pause ends what is heard at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from transforms import vad
from transforms.errors import WavemillError
from transforms.records import Audio
from transforms.segments import join_texts

RATE_HZ = 16000
STEP_S = 0.4
"""So much new audio is looked at together."""
PARTIAL_S = 1.0
"""So much new audio with speech in it is worth a hearing."""
PAUSE_S = 0.6
"""Silence that ends what was said."""
KEEP_S = 0.3
"""Silence that is kept before speech."""
TRIM_S, MOST_S = 12.0, 20.0
"""Audio beyond which it is cut where words are final, and at which it is cut in any case."""
MOST_WAITING_S = 5.0
"""Audio that waits for a chunk before it; then that chunk is given up."""
CONTEXT_CHARS = 200


class Chunk(NamedTuple):
    """Mono audio at 16 kHz, int16 of shape (frames,), and its place; `end` closes the session."""

    seq: int
    samples: np.ndarray
    end: bool = False


class Word(NamedTuple):
    """A word with the space before it, in seconds from the session's start."""

    start: float
    end: float
    word: str


class Message(NamedTuple):
    """What was heard: `final` for good, `partial` until the next message. `seq` is the last chunk that it rests on."""

    seq: int
    kind: Literal["partial", "final"]
    start_s: float
    end_s: float
    text: str
    revision: int


@dataclass
class Session:
    """One speaker's stream. `state` and `restored` carry it from one process to another."""

    next_seq: int = 0
    at: int = 0  # frames before the buffer
    looked: int = 0  # frames of the buffer in which speech was looked for
    heard: int = 0  # frames of the buffer that were heard
    final_s: float = 0.0  # what ends before is final
    context: str = ""
    language: str | None = None
    revision: int = 0
    ended: bool = False
    tail: list[Word] = field(default_factory=list)
    buffer: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    waiting: dict[int, Chunk] = field(default_factory=dict)

    def feed(self, chunk: Chunk) -> list[WavemillError]:
        """Take a chunk in its turn; what is wrong with the sequence is told: a chunk again, after the end, or never come.

        A chunk that comes early waits. In the place of one that is given up there is silence as long as the chunk after it.
        """
        if chunk.seq < self.next_seq or chunk.seq in self.waiting or self.ended:
            why = "came after the end" if self.ended and chunk.seq >= self.next_seq else "came again or too late"
            return [WavemillError("chunk_refused", f"chunk {chunk.seq} {why}; it is left out", "seq")]
        self.waiting[chunk.seq] = chunk
        return self._settle()

    def close(self) -> list[WavemillError]:
        """End the session where nothing more will come, giving up chunks that did not; they are told."""
        told = self._settle(force=True)
        self.ended = True
        return told

    def _settle(self, force: bool = False) -> list[WavemillError]:
        told: list[WavemillError] = []
        while self.waiting:
            if self.next_seq not in self.waiting and not (force or self._waits_too_long()):
                break
            first = min(self.waiting)
            if first > self.next_seq:
                detail = f"chunks {self.next_seq} to {first - 1} did not come; there is silence in their place"
                told.append(WavemillError("chunk_missing", detail, "seq"))
                silence = np.zeros((first - self.next_seq) * len(self.waiting[first].samples), np.int16)
                self._append(silence)
            taken = self.waiting.pop(first)
            self._append(taken.samples)
            self.next_seq, self.ended = first + 1, taken.end
            if self.ended and self.waiting:
                late = sorted(self.waiting)
                self.waiting.clear()
                told += [WavemillError("chunk_refused", f"chunk {seq} came after the end; it is left out", "seq") for seq in late]
        return told

    def _waits_too_long(self) -> bool:
        return sum(len(chunk.samples) for chunk in self.waiting.values()) > MOST_WAITING_S * RATE_HZ

    def _append(self, samples: np.ndarray) -> None:
        self.buffer = np.concatenate([self.buffer, samples.astype(np.int16)])

    def due(self) -> bool:
        """Whether there is something to hear now. Silence is dropped on the way."""
        while self.looked < len(self.buffer):
            step = self.looked + round(STEP_S * RATE_HZ)
            if step > len(self.buffer) and not self.ended:
                return False
            self.looked = min(step, len(self.buffer))
            if self._speech_is_due():
                return True
        return self.ended and self._speech_is_due()

    def _speech_is_due(self) -> bool:
        spans = self._speech()
        if not spans:
            self._drop(self.looked - round(KEEP_S * RATE_HZ))
            return False
        fresh = spans[-1][1] > self.heard and self.looked - max(self.heard, spans[0][0]) >= PARTIAL_S * RATE_HZ
        return fresh or self._is_whole(spans)

    def _speech(self) -> list[vad.Span]:
        return vad.find_speech(self._audio())

    def _audio(self) -> Audio:
        return Audio(self.buffer[None, : self.looked].astype(np.float32) / 32768, RATE_HZ)

    def _is_whole(self, spans: Sequence[vad.Span]) -> bool:
        """Whether what was looked at ends here: at the session's end, at a pause, or because it cannot grow."""
        if self.ended and self.looked == len(self.buffer):
            return True
        return self.looked - (spans[-1][1] if spans else 0) >= PAUSE_S * RATE_HZ or self.looked >= MOST_S * RATE_HZ

    def to_hear(self) -> Audio:
        """What the recognizer is to hear, mono at 16 kHz, once `due` says so."""
        return self._audio()

    def take(self, transcript: Mapping[str, Any]) -> list[Message]:
        """What follows from a transcript of `to_hear()` with a time for each word, as the engine gives it."""
        words = list(self._new(transcript["segments"]))
        self.language = transcript.get("language") or self.language
        spans = self._speech()
        whole = self._is_whole(spans)
        agreed = len(words) if whole else _agreement(self.tail, words)
        told = []
        if agreed:
            told.append(self._message("final", words[:agreed]))
            self.final_s = words[agreed - 1].end
            self.context = (self.context + "".join(word.word for word in words[:agreed]))[-CONTEXT_CHARS:]
        changed = [word.word for word in self.tail[agreed:]] != [word.word for word in words[agreed:]]
        self.tail, self.heard = words[agreed:], self.looked
        if self.tail and changed:
            told.append(self._message("partial", self.tail))
        if whole:
            ends = not spans or (self.ended and self.looked == len(self.buffer))
            self._drop(self.looked if ends else min(self.looked, spans[-1][1] + round(KEEP_S * RATE_HZ)))
            self.final_s = max(self.final_s, self.at / RATE_HZ)
            self.heard, self.tail = 0, []
        elif self.looked > TRIM_S * RATE_HZ:
            self._drop(round(self.final_s * RATE_HZ) - self.at)
        return told

    def _new(self, segments: Iterable[Mapping[str, Any]]) -> Iterable[Word]:
        """The words that are not final yet."""
        start_s = self.at / RATE_HZ
        for segment in segments:
            for start, end, word, *_ in segment["words"]:
                if start_s + (start + end) / 2 > self.final_s:
                    yield Word(round(start_s + start, 3), round(start_s + end, 3), word)

    def _message(self, kind: Literal["partial", "final"], words: Sequence[Word]) -> Message:
        self.revision += 1
        text = join_texts((word.word for word in words), "").strip()
        return Message(self.next_seq - 1, kind, words[0].start, words[-1].end, text, self.revision)

    def _drop(self, frames: int) -> None:
        frames = max(0, min(frames, len(self.buffer)))
        self.buffer = self.buffer[frames:]
        self.at += frames
        self.looked, self.heard = max(0, self.looked - frames), max(0, self.heard - frames)

    def state(self) -> bytes:
        """All of it: a line of JSON, and the samples that are still needed."""
        told = asdict(self)
        del told["buffer"]
        told["waiting"] = [[chunk.seq, len(chunk.samples), chunk.end] for chunk in self.waiting.values()]
        samples = [self.buffer, *(chunk.samples for chunk in self.waiting.values())]
        return json.dumps(told).encode() + b"\n" + np.concatenate(samples).astype("<i2").tobytes()

    @classmethod
    def restored(cls, state: bytes) -> Session:
        """The session that `state` was called of."""
        head, _, data = state.partition(b"\n")
        told = json.loads(head)
        samples = np.frombuffer(data, "<i2").astype(np.int16)
        waiting: dict[int, Chunk] = {}
        for seq, length, end in reversed(told["waiting"]):
            waiting[seq] = Chunk(seq, samples[len(samples) - length :], end)
            samples = samples[: len(samples) - length]
        told["waiting"] = dict(reversed(waiting.items()))
        told["tail"] = [Word(*word) for word in told["tail"]]
        return cls(**told, buffer=samples)


def _agreement(before: Sequence[Word], now: Sequence[Word]) -> int:
    """How many words at the beginning two hearings have in common, but for case and punctuation; the last one never counts."""
    count = 0
    for one, other in zip(before, now[:-1], strict=False):
        if _bare(one.word) != _bare(other.word):
            break
        count += 1
    return count


def _bare(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())
