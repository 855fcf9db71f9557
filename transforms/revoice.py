"""Speech said again at the times it was said at: what converts voices, restyles and translates speech."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transforms.blocks import gather
from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.records import Audio, Item, Piece, Result
from transforms.segments import glue_of, join_texts
from transforms.transcribe import split as cut

Say = Callable[[str, float], Audio]
"""Text and a speaking rate (1 is the voice's own) to speech."""

SLOWEST, FASTEST = 0.75, 1.5
"""How far the voice's own rate, times the speed that is asked for, is bent to meet the source's timing."""
CLOSE = 0.06
"""A length within this part of the wanted one is left as it is."""

VOICE_S = 600.0
"""So much of a recording's beginning says whose voice it is, where it is spoken again in its own."""
OWN = "own_voice"
"""Among a piece's inputs where its `target` is the recording's own beginning."""


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine, own_voice: bool = False) -> list[Piece]:
    """As `transcribe.split`; with `own_voice` each piece has the recording's beginning as its `target`, where none is given."""
    audio = inputs["audio"]
    if own_voice and "target" not in inputs and isinstance(audio, Audio):
        inputs = {**inputs, "target": Audio(audio.samples[:, : round(VOICE_S * audio.rate_hz)], audio.rate_hz), OWN: ""}
    return cut(item, inputs, engine)


def segments_of(heard: Result) -> list[dict[str, Any]]:
    """The segments `{start, end, text}` of a transcribe result, those without words left out."""
    found = json.loads(heard.outputs["transcript"].data)["segments"]
    return [segment for segment in found if segment["text"].strip()]


def speak(segments: Sequence[Mapping[str, Any]], say: Say, duration_s: float, rate_hz: int, speed: float = 1.0) -> Audio:
    """Each segment said from its own start on and in its own length, as far as a voice can be hurried.

    With another `speed` all times are divided by it. What does not fit pushes the next one back until a pause takes it up.
    The result is at least `duration_s / speed` long.
    """
    return gather(_timed(segments, say, duration_s / speed, rate_hz, speed), rate_hz, 1)


def _timed(segments: Sequence[Mapping[str, Any]], say: Say, total_s: float, rate_hz: int, speed: float) -> Iterator[Any]:
    at = 0
    for segment in segments:
        start, wanted_s = round(segment["start"] / speed * rate_hz), (segment["end"] - segment["start"]) / speed
        said = say(segment["text"], 1.0)
        ratio = said.duration_s / max(wanted_s, 0.1)
        if abs(ratio - 1) > CLOSE:
            said = say(segment["text"], min(max(ratio, SLOWEST * speed), FASTEST * speed))
        if start > at:
            yield np.zeros((1, start - at), np.float32)
            at = start
        yield said.samples[:1]
        at += said.frames
    rest = round(total_s * rate_hz) - at
    if rest > 0:
        yield np.zeros((1, rest), np.float32)


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """The pieces' speech one after the other; `text` and `source_text` of all, other fields of the first.

    Raises `empty_text` where no word was heard in any of them, and `engine_error` where they were spoken at different rates.
    """
    fields = dict(results[0].fields)
    glue = glue_of(fields.get("language"))
    texts = [name for name in ("text", "source_text") if name in fields]
    for name in texts:
        fields[name] = join_texts((result.fields[name] for result in results), glue)
    if texts and not any(fields[name].strip() for name in texts):
        raise WavemillError("empty_text", "nothing is said in the audio", "audio")
    if len(results) == 1:
        return Result(fields, results[0].outputs)
    heard = [result.outputs["audio"] for result in results]
    rates = {audio.rate_hz for audio in heard}
    if len(rates) > 1:
        raise WavemillError("engine_error", f"{engine.name} spoke the pieces of one item at {sorted(rates)} Hz")
    return Result(fields, {"audio": gather((audio.samples for audio in heard), rates.pop(), 1)})
