"""Speech written down while it is spoken: what two hearings agree on is final, the rest is partial and may change.

A session is a sequence of chunks of audio. Everything is decided on the clock of the audio itself, never on that of the machine, so
the same chunks are heard at the same places wherever and however often they are worked, as long as nobody falls behind. LocalAgreement-2 is that of
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
STEP_S = 0.25
"""So much new audio is looked at together."""
LOOK_BACK_S = 1.5
"""Audio before it that is looked at again, so that what speech is does not depend on where a look begins."""
FIRST_S, PARTIAL_S = 0.75, 1.0
"""So much audio from the beginning of speech is worth a first hearing, and so much more another."""
BEHIND_S = 2.0
"""With more audio than this waiting, only what is whole or long is heard: so who is behind catches up, and does not fall further back."""
PAUSE_S = 0.6
"""Silence that ends what was said."""
KEEP_S = 0.3
"""Silence that is kept before and after speech."""
TRIM_S, MOST_S = 12.0, 16.0
"""Audio beyond which it is cut where words are final, and at which it is cut in any case."""
OVERLAP_WORDS = 4
"""Final words that stay in the audio where it is cut: by them a hearing finds where it goes on."""
MOST_WAITING_S, MOST_WAITING = 4.0, 250
"""Audio, and chunks, that wait for a chunk before them; then that chunk is given up."""
MOST_CHUNK_S = 5.0
"""Longest chunk that may be fed. With the other limits a state holds at most 28 s, so it fits a message of Kafka's default size."""
GAP_S = 2.0
"""Silence put in the place of chunks that did not come; the rest of their time is a jump of the clock in the middle of it."""


class Chunk(NamedTuple):
    """Mono audio at 16 kHz, int16 of shape (frames,), and its place; `end` closes the session.

    No samples are those of a chunk that cannot be decoded: silence as long as the chunk before it.
    """

    seq: int
    samples: np.ndarray | None
    end: bool = False

    @property
    def frames(self) -> int:
        return 0 if self.samples is None else len(self.samples)


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
    length: int = 0  # frames of the last chunk that had any
    at: int = 0  # frames before the buffer
    looked: int = 0  # frames of the buffer in which speech was looked for
    heard: int = 0  # frames of the buffer that were heard
    voiced: vad.Span | None = None  # of the buffer: from the first speech found to the end of the last
    language: str | None = None
    revision: int = 0
    ended: bool = False
    said: list[Word] = field(default_factory=list)  # final words of the buffer's audio
    tail: list[Word] = field(default_factory=list)  # the words after them, as last heard
    jumps: list[tuple[int, int]] = field(default_factory=list)  # frames of the buffer at which the clock jumps, and by how many
    buffer: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int16))
    waiting: dict[int, Chunk] = field(default_factory=dict)

    def feed(self, chunk: Chunk) -> list[WavemillError]:
        """Take a chunk in its turn, and tell which others are given up, or left out after the end. One that comes early waits.

        In the place of one that is given up there is silence as long as the chunk after it. Raises `chunk_refused` for one that
        comes again, too late, or after the end.
        """
        if self.ended:
            raise WavemillError("chunk_refused", f"chunk {chunk.seq} came after the end; it is left out", "seq")
        if chunk.seq < self.next_seq or chunk.seq in self.waiting:
            raise WavemillError("chunk_refused", f"chunk {chunk.seq} came again or too late; it is left out", "seq")
        self.waiting[chunk.seq] = chunk
        return self._settle()

    def close(self) -> list[WavemillError]:
        """End the session where nothing more will come, giving up chunks that did not; they are told."""
        told = self._settle(force=True)
        self.ended = True
        return told

    @property
    def full(self) -> bool:
        """Whether it must be heard before it takes more."""
        return self._held() >= MOST_S * RATE_HZ and self.due()

    @property
    def finished(self) -> bool:
        """Whether nothing more will be said."""
        return self.ended and not self.due()

    def _held(self) -> int:
        return len(self.buffer) + sum(chunk.frames for chunk in self.waiting.values())

    def _settle(self, force: bool = False) -> list[WavemillError]:
        told: list[WavemillError] = []
        while self.waiting:
            if self.next_seq not in self.waiting and not (force or self._waits_too_long()):
                break
            first = min(self.waiting)
            if first > self.next_seq:
                which = f"chunks {self.next_seq} to {first - 1}" if first - self.next_seq > 1 else f"chunk {self.next_seq}"
                told.append(WavemillError("chunk_missing", f"{which} did not come; there is silence instead", "seq"))
                self._append_silence((first - self.next_seq) * (self.waiting[first].frames or self.length))
            taken = self.waiting.pop(first)
            if taken.samples is None:
                self._append_silence(self.length)
            else:
                self._append(taken.samples)
                self.length = taken.frames or self.length
            self.next_seq, self.ended = first + 1, taken.end
            if self.ended and self.waiting:
                late = sorted(self.waiting)
                self.waiting.clear()
                told += [WavemillError("chunk_refused", f"chunk {seq} came after the end; it is left out", "seq") for seq in late]
        return told

    def _waits_too_long(self) -> bool:
        waits = sum(chunk.frames for chunk in self.waiting.values())
        return waits > MOST_WAITING_S * RATE_HZ or len(self.waiting) > MOST_WAITING

    def _append(self, samples: np.ndarray) -> None:
        self.buffer = np.concatenate([self.buffer, samples.astype(np.int16)])

    def _append_silence(self, frames: int) -> None:
        room = 0 if len(self.buffer) >= MOST_S * RATE_HZ else round(GAP_S * RATE_HZ)
        shown = min(frames, room)
        if frames > shown:
            self.jumps.append((len(self.buffer) + shown // 2, frames - shown))
        self._append(np.zeros(shown, np.int16))

    def due(self) -> bool:
        """Whether there is something to hear now. Silence is dropped on the way."""
        if self._is_due():
            return True
        while self.looked < len(self.buffer):
            step = self.looked + round(STEP_S * RATE_HZ)
            if step > len(self.buffer) and not self.ended:
                return False
            self._look(min(step, len(self.buffer)))
            if self._is_due():
                return True
        return False

    def _look(self, to: int) -> None:
        """Look for speech up to frame `to` of the buffer."""
        start = max(0, self.looked - round(LOOK_BACK_S * RATE_HZ))
        spans = vad.find_speech(Audio(_as_floats(self.buffer[start:to]), RATE_HZ))
        self.looked = to
        if spans:
            self.voiced = (start + spans[0][0] if self.voiced is None else self.voiced[0], start + spans[-1][1])
        elif self.voiced is None:
            self._drop(self.looked - round(KEEP_S * RATE_HZ))

    def _is_due(self) -> bool:
        if self.voiced is None:
            return False
        start, end = self.voiced
        wanted_s = PARTIAL_S if self.heard else FIRST_S
        fresh = end > self.heard and self.looked - max(self.heard, start) >= wanted_s * RATE_HZ
        behind = len(self.buffer) - self.looked > BEHIND_S * RATE_HZ
        return (fresh and not behind) or self._is_whole() or self._is_long()

    def _is_whole(self) -> bool:
        """Whether what was looked at ends here: at the session's end, or at a pause."""
        return self._is_last() or (self.voiced is not None and self.looked - self.voiced[1] >= PAUSE_S * RATE_HZ)

    def _is_last(self) -> bool:
        return self.ended and self.looked == len(self.buffer)

    def _is_long(self) -> bool:
        return self.looked >= MOST_S * RATE_HZ

    def to_hear(self) -> Audio:
        """What the recognizer is to hear, mono at 16 kHz, once `due` says so."""
        return Audio(_as_floats(self.buffer[: self.looked]), RATE_HZ)

    def take(self, transcript: Mapping[str, Any]) -> list[Message]:
        """What follows from a transcript of `to_hear()` with a time for each word, as the engine gives it."""
        words = self._placed(transcript["segments"])
        words = words[self._final_of(words) :]
        if self._is_whole():
            agreed = len(words)
        elif self._is_long():
            agreed = len(words) - len(self._cut_off(words))
        else:
            agreed = _agreement(self.tail, words)
        told = []
        if agreed:
            told.append(self._message("final", words[:agreed]))
            self.said += words[:agreed]
            self.language = transcript.get("language") or self.language
        changed = [word.word for word in self.tail[agreed:]] != [word.word for word in words[agreed:]]
        self.tail, self.heard = words[agreed:], self.looked
        if self.tail and changed:
            told.append(self._message("partial", self.tail))
        self._forget()
        return told

    def skip(self) -> list[Message]:
        """Leave out what was to be heard, as if it were silence. Words that were partial are final: nothing will correct them."""
        told = [self._message("final", self.tail)] if self.tail else []
        self._begin_anew(self.looked)
        return told

    def _forget(self) -> None:
        """Drop audio that no further hearing needs."""
        if self._is_whole():
            end = self.looked if self._is_last() or self.voiced is None else self.voiced[1] + round(KEEP_S * RATE_HZ)
            self._begin_anew(end)
        elif self._is_long() and not self.tail:
            self._begin_anew(self.looked)
        elif self._is_long():
            self._drop(round(self.tail[0].start * RATE_HZ) - self.at)
            self.said = []
        elif self.looked > TRIM_S * RATE_HZ and len(self.said) > OVERLAP_WORDS:
            self._drop(round(self.said[-OVERLAP_WORDS].start * RATE_HZ) - self.at)
            self.said = self.said[-OVERLAP_WORDS:]

    def _cut_off(self, words: Sequence[Word]) -> list[Word]:
        """Those of the last words that may have been cut by the end of what was heard."""
        end_s = (self.at + self.looked) / RATE_HZ
        return [word for word in words if word.end > end_s - 1 and word.start > end_s - 2]

    def _begin_anew(self, frames: int) -> None:
        self._drop(min(frames, self.looked))
        self.said, self.tail, self.heard, self.voiced = [], [], 0, None

    def _placed(self, segments: Iterable[Mapping[str, Any]]) -> list[Word]:
        """The words on the session's clock, which does not go back behind what is final."""
        start_s, final_s = self.at / RATE_HZ, self.said[-1].end if self.said else 0.0
        found = [Word(start_s + start, start_s + end, word) for segment in segments for start, end, word, *_ in _words_of(segment)]
        return [Word(round(max(w.start, min(final_s, w.end)), 3), round(w.end, 3), w.word) for w in found]

    def _final_of(self, words: Sequence[Word]) -> int:
        """How many of the words at the beginning are the final ones, heard again, perhaps otherwise.

        So many as make the fewest differences (Levenshtein, 1966) from them; of several such numbers, that which ends nearest to them in time.
        """
        if not self.said:
            return 0
        row = list(range(len(words) + 1))
        for count, said in enumerate(self.said, 1):
            before, row = row, [count]
            for at, word in enumerate(words):
                row.append(min(before[at] + (_bare(said.word) != _bare(word.word)), before[at + 1] + 1, row[at] + 1))
        ends = [self.said[0].start, *(word.end for word in words)]
        return min(range(len(words) + 1), key=lambda count: (row[count], abs(ends[count] - self.said[-1].end)))

    def _message(self, kind: Literal["partial", "final"], words: Sequence[Word]) -> Message:
        self.revision += 1
        text = join_texts((word.word for word in words), "").strip()
        return Message(self.next_seq - 1, kind, words[0].start, words[-1].end, text, self.revision)

    def _drop(self, frames: int) -> None:
        frames = max(0, min(frames, len(self.buffer)))
        self.buffer = self.buffer[frames:]
        self.at += frames + sum(by for place, by in self.jumps if place < frames)
        self.jumps = [(place - frames, by) for place, by in self.jumps if place >= frames]
        self.looked, self.heard = max(0, self.looked - frames), max(0, self.heard - frames)
        if self.voiced:
            self.voiced = (max(0, self.voiced[0] - frames), max(0, self.voiced[1] - frames))

    def state(self) -> bytes:
        """All of it: a line of JSON, and the samples that are still needed."""
        told = asdict(self)
        del told["buffer"]
        told["waiting"] = [[chunk.seq, None if chunk.samples is None else chunk.frames, chunk.end] for chunk in self.waiting.values()]
        samples = [self.buffer, *(chunk.samples for chunk in self.waiting.values() if chunk.samples is not None)]
        return json.dumps(told).encode() + b"\n" + np.concatenate(samples).astype("<i2").tobytes()

    @classmethod
    def restored(cls, state: bytes) -> Session:
        """The session that `state` was called of."""
        head, _, data = state.partition(b"\n")
        told = json.loads(head)
        samples = np.frombuffer(data, "<i2").astype(np.int16)
        waiting: dict[int, Chunk] = {}
        for seq, frames, end in reversed(told["waiting"]):
            start = len(samples) - (frames or 0)
            waiting[seq] = Chunk(seq, None if frames is None else samples[start:], end)
            samples = samples[:start]
        told["waiting"] = dict(reversed(waiting.items()))
        told["voiced"] = told["voiced"] and tuple(told["voiced"])
        told["jumps"] = [tuple(jump) for jump in told["jumps"]]
        for name in ("said", "tail"):
            told[name] = [Word(*word) for word in told[name]]
        return cls(**told, buffer=samples)


def _as_floats(samples: np.ndarray) -> np.ndarray:
    return samples[None].astype(np.float32) / 32768


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


def _words_of(segment: Mapping[str, Any]) -> Sequence[Any]:
    """(start, end, word, ...) for each word; a segment without times for its words is one."""
    return segment.get("words") or [(segment["start"], segment["end"], f" {segment['text']}")]
