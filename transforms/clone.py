"""Speech from text in the voice of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from transforms import synthesize
from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.records import Audio, Item, Piece, Result

VERSION = 1
OF_VOICE = ("voice", "model", "method", "similarity", "provenance", "watermark")
"""Fields that are about the voice, the same for every piece."""


class Options(synthesize.Options):
    """Options of every clone engine; the voice is that of the reference."""


def check(item: Item) -> None:
    """Raises `bad_option` for a voice beside the reference."""
    assert isinstance(item.options, Options)
    if item.options.voice:
        raise WavemillError("bad_option", "clone takes its voice from the reference; for a voice by name: synthesize", "voice")


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """As `synthesize.split`, each piece with the reference."""
    reference = inputs["reference"]
    return [replace(piece, inputs={**piece.inputs, "reference": reference}) for piece in synthesize.split(item, inputs, engine)]


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """As `synthesize.join`, with what was found of the voice."""
    of_voice = {name: results[0].fields[name] for name in OF_VOICE if name in results[0].fields}
    bare = [Result({}, result.outputs) for result in results]
    spoken = synthesize.join(item, pieces, bare, engine)
    return Result({**spoken.fields, **of_voice}, spoken.outputs)
