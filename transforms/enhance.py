"""Speech made cleaner and clearer: what is around the engines that take its noise away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from transforms.chunks import join, split
from transforms.errors import WavemillError
from transforms.options import AudioOptions, Options as BaseOptions
from transforms.records import Audio, Item, Piece, Result

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ATTENUATION_DB", "VERSION", "Options", "check", "finish", "join", "options_of", "split", "work"]

VERSION = 1

ATTENUATION_DB = {1: 12.0, 2: 24.0, 3: 100.0}
"""Strength -> the most decibels that noise is lowered by; 100 is without a limit."""


class Options(AudioOptions):
    """Options of every enhance engine."""

    denoise: bool = Field(True, description="take noise away")
    clarity: bool = Field(True, description="equalize for clear speech: no rumble, more presence (3 kHz) and air (6 kHz)")
    super_resolution: bool = Field(
        False,
        description="bandwidth extension by spectral band replication, an octave at most, where the source holds less than the "
        "engine's rate can; it brightens, it does not know what was lost",
    )
    strength: int = Field(2, ge=1, le=3, description="1-3: noise lowered by at most 12 dB, 24 dB or all; clarity of 1.5, 3 or 4.5 dB")


def options_of(options: BaseOptions) -> Options:
    assert isinstance(options, Options)
    return options


def check(item: Item) -> None:
    """Refuse an item that asks for nothing. Raises `bad_option`."""
    options = options_of(item.options)
    if not (options.denoise or options.clarity or options.super_resolution):
        raise WavemillError("bad_option", "denoise, clarity and super_resolution are all off: nothing is left to do", "denoise")


def work(piece: Piece, denoise: Callable[[np.ndarray, float], np.ndarray]) -> Result:
    """One piece, each channel by itself: `denoise` takes samples (frames,) and the most dB that noise is lowered by."""
    import numpy as np

    given, options = piece.inputs["audio"], options_of(piece.options)
    assert isinstance(given, Audio)
    cleaned = given.samples
    if options.denoise:
        limit_db = ATTENUATION_DB[options.strength]
        cleaned = np.stack([denoise(channel, limit_db) for channel in given.samples])
    return Result(outputs={"audio": finish(given, cleaned, options)})


def finish(given: Audio, cleaned: np.ndarray, options: Options) -> Audio:
    """What follows the engine: wider band, clarity, and peaks held where the equalizer raised them.

    `given` is the piece and `cleaned` its samples without noise, both (channels, frames). Peaks stay within 1.0, or within
    the piece's own where that is more.
    """
    import numpy as np

    if options.super_resolution:
        from transforms import bandwidth

        # of what was given: noise that was taken away is not a missing band
        cleaned = bandwidth.extend(cleaned, given.rate_hz, bandwidth.edge_hz(given.samples, given.rate_hz))
    if options.clarity:
        from transforms import equalizer

        cleaned = equalizer.equalize(cleaned, equalizer.clarity(given.rate_hz, options.strength))
    ceiling = max(1.0, float(np.abs(given.samples).max(initial=0.0)))
    if np.abs(cleaned).max(initial=0.0) > ceiling:
        from transforms.limiter import limit

        cleaned = np.concatenate(list(limit((cleaned,), given.rate_hz, 1.0, ceiling)), axis=1)
    return Audio(np.ascontiguousarray(cleaned, dtype=np.float32), given.rate_hz)
