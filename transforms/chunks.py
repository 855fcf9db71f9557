"""Audio that is worked in pieces: overlapping views of it, and what was made of them joined by cross-fades.

The `split` and `join` of every operation whose output runs along its input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.records import Audio, Item, Piece, Result

FADE_S = 0.05


def whole(inputs: Mapping[str, str | Audio]) -> Audio:
    """The audio of an item. Raises `audio_empty`."""
    audio = inputs["audio"]
    assert isinstance(audio, Audio)
    if not audio.frames:
        raise WavemillError("audio_empty", "the audio holds no samples", "audio")
    return audio


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """Pieces of at most `engine.max_s` seconds (0 is no limit), each beginning `engine.overlap_s` before the last one ends.

    They are views of the audio. Raises `audio_empty`.
    """
    from transforms.identity import seed

    audio = whole(inputs)
    most = round(engine.max_s * audio.rate_hz) or audio.frames
    overlap = min(round(engine.overlap_s * audio.rate_hz), most // 2)
    starts = range(0, max(1, audio.frames - overlap), most - overlap)
    return [
        Piece(
            {**inputs, "audio": replace(audio, samples=audio.samples[:, start : start + most])},
            item.options,
            seed(item.key, index),
            start_s=start / audio.rate_hz,
        )
        for index, start in enumerate(starts)
    ]


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """Each output along the whole input; in the middle of an overlap one piece fades into the next over `FADE_S`.

    Fields are those of the first piece, and the tag of cloned speech. Raises `engine_error` for an output that is not as long as its piece.
    """
    from transforms.blocks import gather

    tag = whole(pieces[0].inputs).provenance
    fields = {**results[0].fields, **({"provenance": tag} if tag else {})}
    if len(results) == 1:
        return Result(fields, results[0].outputs)
    outputs = {}
    for name, first in results[0].outputs.items():
        heard = [result.outputs[name] for result in results]
        outputs[name] = gather(_joined(name, pieces, heard, engine), first.rate_hz, first.channels)
    return Result(fields, outputs)


def _joined(name: str, pieces: Sequence[Piece], heard: Sequence[Audio], engine: Engine) -> Iterator[Any]:
    import numpy as np

    from transforms.blocks import cut

    rate_hz = heard[0].rate_hz
    starts = [round(piece.start_s * rate_hz) for piece in pieces]
    for number, (piece, audio) in enumerate(zip(pieces, heard, strict=True), 1):
        given = piece.inputs["audio"]
        assert isinstance(given, Audio)
        if abs(audio.duration_s - given.duration_s) > 1.5 / rate_hz:
            detail = f"{engine.name} made {audio.duration_s:.3f} s of {name} out of {given.duration_s:.3f} s in piece {number}"
            raise WavemillError("engine_error", detail)
    at = 0  # frames written so far, on the whole's own count
    for index, audio in enumerate(heard):
        start = starts[index]
        if index + 1 == len(heard):
            yield from cut(audio.samples[:, at - start :])
            return
        end = start + audio.frames
        overlap = end - starts[index + 1]
        fade = min(overlap, round(FADE_S * rate_hz))
        fades_at = end - overlap + (overlap - fade) // 2
        yield from cut(audio.samples[:, at - start : fades_at - start])
        if fade:
            rising = ((np.arange(fade, dtype=np.float32) + 0.5) / fade)[None]
            other = heard[index + 1].samples[:, fades_at - starts[index + 1] :][:, :fade]
            yield audio.samples[:, fades_at - start :][:, :fade] * (1 - rising) + other * rising
        at = fades_at + fade
