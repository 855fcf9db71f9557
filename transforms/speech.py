"""What an engine said for one piece: where it begins and ends, and whether it can be that text at all."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from transforms.records import Audio

BLOCK_S = 0.01
QUIET = 10 ** (-50 / 20)
"""Below this part of the peak a block is silent at an edge: low enough for an s or an f to be heard."""
SILENT = 10 ** (-40 / 20)
"""Below this part of the peak a block counts as silence in the share of silence."""
MAX_SILENT_SHARE = 0.7
SPARE_SILENCE_S = 1.5
"""Silence that counts for nothing: engines put up to a second around a text, which outweighs a short one."""
MARGIN_S = 0.03
"""Kept before the first and after the last audible block."""
FADE_S = 0.005
MIN_S_A_LETTER = 0.02
MAX_S_A_LETTER = 0.25
MAX_S_A_SIGN = 1.0
SPARE_S = 3.0


def levels(audio: Audio) -> np.ndarray:
    """The peak of each block of 10 ms over all channels, float32 of shape (blocks,). Not finite where a sample is not."""
    block = max(1, round(audio.rate_hz * BLOCK_S))
    whole = audio.frames - audio.frames % block
    loud = np.abs(audio.samples).max(axis=0, initial=0.0)
    peaks = loud[:whole].reshape(-1, block).max(axis=1, initial=0.0)
    return np.append(peaks, loud[whole:].max()) if whole < audio.frames else np.asarray(peaks)


def doubt(audio: Audio, blocks: np.ndarray, text: str, speed: float) -> str:
    """Why this cannot be that text spoken, or nothing. The bounds are generous: they catch garbage, not slow readers."""
    peak = float(blocks.max(initial=0.0))
    if not np.isfinite(peak):
        return "the samples are not finite"
    if peak <= 0.0:
        return "no sound"
    silent_s = float((blocks < peak * SILENT).mean()) * audio.duration_s
    if silent_s > SPARE_SILENCE_S + MAX_SILENT_SHARE * max(0.0, audio.duration_s - SPARE_SILENCE_S):
        return f"{silent_s / audio.duration_s:.0%} silence"
    least, most = bounds(text, speed)
    if not least <= audio.duration_s <= most:
        return f"{audio.duration_s:.2f} s for {len(text)} characters, not {least:.2f} to {most:.2f} s"
    return ""


def bounds(text: str, speed: float) -> tuple[float, float]:
    """The shortest and the longest a text may take, in seconds: from 50 letters a second to 4, digits, capitals, signs and
    characters of scripts without an alphabet up to a second each, and 3 s to spare."""
    letters = signs = 0
    for character in text:
        if character.isspace():
            continue
        if character.isalpha() and character < "\u2e80" and not character.isupper():
            letters += 1
        else:
            signs += 1
    said = sum(map(str.isalnum, text))
    return MIN_S_A_LETTER * (said - 10) / speed, SPARE_S + (MAX_S_A_LETTER * letters + MAX_S_A_SIGN * signs) / speed


def trim(audio: Audio, blocks: np.ndarray) -> tuple[Audio, int]:
    """The audio from just before its first audible block to just after its last, as a view, and the frame it begins at."""
    heard = np.flatnonzero(blocks >= blocks.max(initial=0.0) * QUIET)
    if not len(heard):
        return audio, 0
    block, margin = max(1, round(audio.rate_hz * BLOCK_S)), round(audio.rate_hz * MARGIN_S)
    start = max(0, int(heard[0]) * block - margin)
    end = min(audio.frames, (int(heard[-1]) + 1) * block + margin)
    return Audio(audio.samples[:, start:end], audio.rate_hz), start


@lru_cache(maxsize=32)
def _ramp(frames: int) -> np.ndarray:
    ramp = np.linspace(0, 1, frames + 2, dtype=np.float32)[1:-1]
    ramp.setflags(write=False)
    return ramp


def fade(audio: Audio) -> np.ndarray:
    """A copy of the samples that rises from nothing and falls to nothing over 5 ms, so that no edge clicks."""
    samples = np.array(audio.samples, np.float32)
    frames = min(round(audio.rate_hz * FADE_S), audio.frames // 2)
    if frames:
        samples[:, :frames] *= _ramp(frames)
        samples[:, -frames:] *= _ramp(frames)[::-1]
    return samples
