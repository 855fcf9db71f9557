"""Less of the room: the reverberation after a voice, and the discrete echo of it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from transforms.chunks import join, split
from transforms.options import AudioOptions

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 1


class Options(AudioOptions):
    """Options of every dereverb engine."""

    type: Literal["reverb", "echo", "both"] = Field("both", description="what to take out: the room's tail, a discrete echo, or both")
    intensity: int = Field(3, ge=1, le=5, description="how much of it: 1 leaves the room in place, 5 is as dry as it gets")
