"""The installed test double: answers at once, and fails, waits or dies where the input says so."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import Field

from transforms import complete, synthesize, transcribe, translate_text
from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.options import Options
from transforms.records import Audio, Failure, Item, Outcome, Piece, Result

if TYPE_CHECKING:
    import numpy as np


class Faults(Options):
    """What goes wrong, for tests of what stands around an engine."""

    delay_s: float = Field(0.0, ge=0, description="seconds each piece takes")
    fail_on: str = Field("", description="a piece whose text holds this fails")
    raise_on: str = Field("", description="a piece whose text holds this fails its whole batch")
    crash_on: str = Field("", description="a piece whose text holds this kills the process")
    crash_if: str = Field("", description="crash_on kills only while this file exists")
    crash_parent: bool = Field(False, description="crash_on kills the parent process first, as a container without memory does")


def _act(options: Faults, text: str) -> Failure | None:
    if options.delay_s:
        time.sleep(options.delay_s)
    if options.crash_on and options.crash_on in text and (not options.crash_if or os.path.exists(options.crash_if)):
        if options.crash_parent:
            os.kill(os.getppid(), signal.SIGKILL)
        os._exit(139)
    if options.raise_on and options.raise_on in text:
        raise RuntimeError(f"echo was told to raise on {options.raise_on!r}")
    if options.fail_on and options.fail_on in text:
        return Failure("engine_error", f"echo was told to fail on {options.fail_on!r}")
    return None


@lru_cache(maxsize=64)
def _tone(frequency_hz: int, frames: int, rate_hz: int) -> np.ndarray:
    import numpy as np

    t = np.arange(frames, dtype=np.float32)
    tone: np.ndarray = (0.3 * np.sin(t * np.float32(2 * np.pi * frequency_hz / rate_hz))).astype(np.float32)[None]
    tone.setflags(write=False)
    return tone


class EchoSpeech(Engine):
    """A short tone for each piece; its pitch follows the text."""

    name = "echo"
    operation = "synthesize"
    version = 1
    rate_hz = 24000
    max_chars = 400
    max_batch = 64
    cost_s = 0.0001

    class Options(Faults, synthesize.Options):
        piece_s: float = Field(0.1, gt=0, le=3600, description="length of a piece's tone in seconds")

    def check(self, item: Item) -> None:
        voice = item.options.voice  # type: ignore[attr-defined]
        if voice and not voice.startswith("echo"):
            raise WavemillError("unknown_voice", f"no voice {voice!r}; did you mean echo?", "voice")

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for piece in pieces:
            text = str(piece.inputs["text"])
            failure = _act(piece.options, text)
            frequency_hz = 200 + sum(text.encode()) % 64 * 10
            tone = _tone(frequency_hz, round(piece.options.piece_s * self.rate_hz), self.rate_hz)
            outcomes.append(failure or Result(outputs={"audio": Audio(tone, self.rate_hz)}))
        return outcomes


class EchoTranscript(Engine):
    """Says how long each piece was and how loud."""

    name = "echo"
    operation = "transcribe"
    version = 1
    rate_hz = 16000
    max_s = 600.0
    max_batch = 16
    cost_s = 0.0001

    class Options(Faults, transcribe.Options):
        pass

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for piece in pieces:
            audio = piece.inputs["audio"]
            assert isinstance(audio, Audio)
            peak = float(abs(audio.samples).max(initial=0.0))
            text = f"{audio.duration_s:.3f} seconds, peak {peak:.2f}"
            segment = {"start": 0.0, "end": audio.duration_s, "text": text}
            fields = {"text": text, "language": piece.options.language or "en", "duration_s": audio.duration_s, "segments": [segment]}
            outcomes.append(_act(piece.options, text) or Result(fields))
        return outcomes


class EchoText(Engine):
    """Says the text again; what its two kinds put before it shows that they were asked."""

    name = "echo"
    version = 1
    max_chars = 400
    max_batch = 64
    cost_s = 0.0001

    def said_of(self, piece: Piece) -> str:
        raise NotImplementedError

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [_act(piece.options, str(piece.inputs["text"])) or Result({"text": self.said_of(piece)}) for piece in pieces]


class EchoTranslation(EchoText):
    operation = "translate_text"

    class Options(Faults, translate_text.Options):
        pass

    def check(self, item: Item) -> None:
        translate_text.check(item.options)

    def said_of(self, piece: Piece) -> str:
        return f"[{piece.options.to}] {piece.inputs['text']}"


class EchoCompletion(EchoText):
    operation = "complete"
    max_chars = 4000

    class Options(Faults, complete.Options):
        pass

    def said_of(self, piece: Piece) -> str:
        said = complete.conversation(piece)
        return f"{len(said)} messages, the last: {said[-1]['content']}"
