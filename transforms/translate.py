"""Speech in one language to speech in another, segment by segment at the source's times."""

from __future__ import annotations

from pydantic import Field

from transforms import convert_voice
from transforms.revoice import join
from transforms.transcribe import split

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 1


class Options(convert_voice.Options):
    """Options of every translate engine; `language` is that of the source."""

    to: str = Field("en", description="language code to speak in")
    preserve_voice: bool = Field(False, description="speak in the voice nearest to the source's own")
