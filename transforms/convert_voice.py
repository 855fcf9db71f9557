"""Speech said again in another voice, held to the source's timing."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from transforms.chain import Staged, StageOptions, stage_of
from transforms.options import AudioOptions
from transforms.revoice import join, split

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 1


class Options(Staged, AudioOptions):
    """Options of every convert-voice engine. The voice is named, or is that of the input `target`."""

    voice: str = Field("", description="voice id or mix to speak in, where no target recording is given")
    language: str | None = Field(None, description="language code of the speech; detected when unset")
    stt: Annotated[StageOptions, stage_of("transcribe")] = Field({}, description="how it is heard: stt.engine=, stt.model=, ...")
    tts: Annotated[StageOptions, stage_of("synthesize")] = Field({}, description="how it is spoken: tts.engine=, tts.model=, ...")
