"""A voice out of a recording, as a small JSON file that every later use takes in an instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transforms.chunks import whole
from transforms.engine import Engine
from transforms.identity import seed
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Item, Piece, Result

VERSION = 1


class Options(BaseOptions):
    """Options of every embed engine."""


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """One piece: a voice is one thing. Raises `audio_empty`."""
    whole(inputs)
    return [Piece(inputs, item.options, seed(item.key))]


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    return results[0]
