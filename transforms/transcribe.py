"""Text from speech: where long audio is cut, and how the words of its pieces become one transcript."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from transforms.engine import Engine
from transforms.options import Names, Options as BaseOptions
from transforms.records import Audio, Item, Piece, Result

VERSION = 1


class Options(BaseOptions):
    """Options of every transcribe engine."""

    language: str | None = Field(None, description="language code of the speech; detected when unset")
    task: Literal["transcribe", "translate"] = Field("transcribe", description="translate: into English")
    timestamps: bool = Field(False, description="a time for every word, not only for every segment")
    formats: Names = Field((), description="further outputs beside the JSON: srt, vtt, tsv, txt")


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    raise NotImplementedError


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    raise NotImplementedError
