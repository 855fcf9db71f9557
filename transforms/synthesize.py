"""Speech from text: how a text becomes pieces an engine can say, and how what it said is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from transforms.engine import Engine
from transforms.options import AudioOptions
from transforms.records import Audio, Item, Piece, Result

VERSION = 1


def _read_lexicon(value: Any) -> Any:
    raise NotImplementedError


class Options(AudioOptions):
    """Options of every synthesize engine."""

    voice: str = Field("", description="voice id, or a weighted mix as af_bella:0.6+af_sky:0.4; the engine's own when unset")
    speed: float = Field(1.0, ge=0.5, le=2.0, description="speaking rate")
    language: str | None = Field(None, description="language code (en, es, ...); that of the voice when unset")
    normalize: bool = Field(True, description="say numbers, dates, money and abbreviations as words")
    lexicon: Annotated[dict[str, str], BeforeValidator(_read_lexicon)] = Field(
        {}, description="words and how to say them: a file of WORD<TAB>SAY lines, or a mapping"
    )
    sentence_pause: float = Field(0.25, ge=0, le=10, description="seconds of silence between sentences")
    paragraph_pause: float = Field(0.6, ge=0, le=10, description="seconds of silence between paragraphs")


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    raise NotImplementedError


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    raise NotImplementedError
