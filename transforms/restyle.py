"""Speech said again in its own or another voice, at another speed and in another mood."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from transforms import convert_voice
from transforms.revoice import join
from transforms.transcribe import split

__all__ = ["PRESETS", "VERSION", "Options", "Preset", "join", "split"]

VERSION = 1


class Preset(NamedTuple):
    """An emotion as prosody: how fast, how high (semitones), how long its pauses are, and how loud (decibels)."""

    rate: float
    semitones: float
    pauses: float
    energy_db: float


PRESETS = {
    "neutral": Preset(1.0, 0.0, 1.0, 0.0),
    "happy": Preset(1.08, 1.0, 0.9, 1.5),
    "sad": Preset(0.88, -1.0, 1.35, -3.0),
    "angry": Preset(1.1, 0.5, 0.75, 4.0),
    "excited": Preset(1.18, 1.5, 0.7, 3.0),
}
"""After Scherer 2003, "Vocal communication of emotion", table 2, whose signs these follow; the sizes are ours."""


class Options(convert_voice.Options):
    """Options of every restyle engine. Without voice and target the nearest voice to the source's own speaks."""

    speed: float = Field(1.0, ge=0.5, le=2.0, description="rate over that of the source")
    emotion: Literal["neutral", "happy", "sad", "angry", "excited"] = Field(
        "neutral", description="a preset of rate, pitch, pauses and energy"
    )
