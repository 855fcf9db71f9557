"""Equalizers of second-order sections, run forward and back so that nothing moves in time.

Coefficients: R. Bristow-Johnson, "Audio EQ Cookbook" (W3C note, 2021). A section is six numbers, b0 b1 b2 a0 a1 a2 with
a0 = 1, as scipy takes them. Import this lazily: it brings scipy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.signal import sosfiltfilt

Samples = np.ndarray[Any, np.dtype[Any]]

RUMBLE_HZ, PRESENCE_HZ, AIR_HZ = 50.0, 3000.0, 6000.0
PRESENCE_DB = {1: 1.5, 2: 3.0, 3: 4.5}
"""Strength -> gain of the presence peak; the air shelf has half of it."""
_BUTTERWORTH_Q = math.sqrt(0.5)
_PRESENCE_Q = 0.8


def high_pass(rate_hz: int, corner_hz: float, q: float = _BUTTERWORTH_Q) -> Samples:
    """12 dB an octave under `corner_hz`, where it is -3 dB at the default `q`."""
    cosine, alpha = _angle(rate_hz, corner_hz, q)
    return _section((1 + cosine) / 2, -(1 + cosine), (1 + cosine) / 2, 1 + alpha, -2 * cosine, 1 - alpha)


def peak(rate_hz: int, centre_hz: float, gain_db: float, q: float) -> Samples:
    """`gain_db` at `centre_hz`, nothing far from it."""
    cosine, alpha = _angle(rate_hz, centre_hz, q)
    a = 10 ** (gain_db / 40)
    return _section(1 + alpha * a, -2 * cosine, 1 - alpha * a, 1 + alpha / a, -2 * cosine, 1 - alpha / a)


def high_shelf(rate_hz: int, middle_hz: float, gain_db: float, q: float = _BUTTERWORTH_Q) -> Samples:
    """`gain_db` far above `middle_hz`, half of it there, nothing far below."""
    cosine, alpha = _angle(rate_hz, middle_hz, q)
    a = 10 ** (gain_db / 40)
    slope = 2 * math.sqrt(a) * alpha
    return _section(
        a * ((a + 1) + (a - 1) * cosine + slope),
        -2 * a * ((a - 1) + (a + 1) * cosine),
        a * ((a + 1) + (a - 1) * cosine - slope),
        (a + 1) - (a - 1) * cosine + slope,
        2 * ((a - 1) - (a + 1) * cosine),
        (a + 1) - (a - 1) * cosine - slope,
    )


def clarity(rate_hz: int, strength: int) -> Samples:
    """Sections for speech: rumble under 50 Hz away, a wide peak at 3 kHz, where consonants are told apart, and some air.

    Gains are halved, since `equalize` runs every section twice: the high-pass ends at -6 dB at 50 Hz, -1 dB at 85 Hz.
    """
    gain_db = PRESENCE_DB[strength]
    return np.stack(
        (
            high_pass(rate_hz, RUMBLE_HZ),
            peak(rate_hz, PRESENCE_HZ, gain_db / 2, _PRESENCE_Q),
            high_shelf(rate_hz, AIR_HZ, gain_db / 4),
        )
    )


def equalize(samples: Samples, sections: Samples) -> Samples:
    """Samples of shape (channels, frames) through the sections forward and back: every gain in dB counts twice, phase is 0."""
    frames = samples.shape[1]
    # what lies outside is taken as a mirror image; the default of a few frames is too little for a corner at 50 Hz
    pad = min(frames - 1, max(3 * 2 * len(sections), _pad_frames(sections)))
    return np.asarray(sosfiltfilt(sections, samples.astype(np.float64), axis=1, padlen=pad), np.float32)


def _pad_frames(sections: Samples) -> int:
    """Frames until the slowest pole has decayed to a thousandth."""
    slowest = max(float(np.abs(np.roots(section[3:])).max()) for section in sections)
    return round(math.log(1e-3) / math.log(slowest)) if 0 < slowest < 1 else 0


def _angle(rate_hz: int, at_hz: float, q: float) -> tuple[float, float]:
    omega = 2 * math.pi * at_hz / rate_hz
    return math.cos(omega), math.sin(omega) / (2 * q)


def _section(*numbers: float) -> Samples:
    ordered: Sequence[float] = numbers
    return np.array(ordered) / numbers[3]
