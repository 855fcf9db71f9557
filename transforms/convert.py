"""Audio to another format, rate, channel count or loudness: all of it is done by the steps that read and write audio."""

from __future__ import annotations

from transforms.chunks import join, split
from transforms.options import AudioOptions

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 1


class Options(AudioOptions):
    """Options of every convert engine: those of any audio output."""
