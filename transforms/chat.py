"""A turn of a spoken conversation: what was said, or written, is answered in speech.

What was said before is in the option `messages`; nothing is remembered from one turn to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from transforms.chain import Staged, StageOptions, stage_of
from transforms.chunks import whole
from transforms.complete import Messages
from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.identity import seed
from transforms.options import AudioOptions
from transforms.records import Audio, Item, Piece, Result

VERSION = 1
MOST_S = 600.0
"""The longest turn that is listened to."""


class Options(Staged, AudioOptions):
    """Options of every chat engine."""

    voice: str = Field("", description="voice id or mix that answers")
    language: str | None = Field(None, description="language code of the conversation; heard when unset")
    system: str = Field("", description="what the model is told about its part")
    messages: Messages = ()
    stt: Annotated[StageOptions, stage_of("transcribe")] = Field({}, description="how it is heard: stt.engine=, stt.model=, ...")
    llm: Annotated[StageOptions, stage_of("complete")] = Field({}, description="what answers: llm.engine=, llm.max_tokens=, ...")
    tts: Annotated[StageOptions, stage_of("synthesize")] = Field({}, description="how the answer is spoken: tts.engine=, tts.speed=, ...")


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """The turn, whole. Raises `bad_row` for audio and text at once, `audio_empty`, `audio_too_long` and `empty_text`."""
    if len(inputs) > 1:
        raise WavemillError("bad_row", "a turn is audio or text, not both", "text")
    if "audio" in inputs and (audio := whole(inputs)).duration_s > MOST_S:
        raise WavemillError("audio_too_long", f"a turn of {audio.duration_s:.0f} s; {MOST_S:.0f} s are listened to", "audio")
    if "text" in inputs and not str(inputs["text"]).strip():
        raise WavemillError("empty_text", "there is nothing to answer", "text")
    return [Piece(inputs, item.options, seed(item.key))]


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    return results[0]
