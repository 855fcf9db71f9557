"""Speech in one language to speech in another, segment by segment at the source's times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from transforms import convert_voice, revoice
from transforms.chain import StageOptions, stage_of
from transforms.engine import Engine
from transforms.records import Audio, Item, Piece
from transforms.revoice import join

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 1


class Options(convert_voice.Options):
    """Options of every translate engine; `language` is that of the source."""

    to: str = Field("en", description="language code to speak in")
    preserve_voice: bool = Field(False, description="speak in the voice nearest to the source's own")
    mt: Annotated[StageOptions, stage_of("translate_text")] = Field(
        {}, description="how its text is translated: mt.engine=, ...; into en the recognizer does it when unset"
    )


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """As `revoice.split`."""
    return revoice.split(item, inputs, engine, own_voice=item.options.preserve_voice)  # type: ignore[attr-defined]
