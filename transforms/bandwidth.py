"""Bandwidth extension by spectral band replication, for speech that was recorded or kept at a low rate.

After M. Dietz et al., "Spectral Band Replication, a Novel Approach in Audio Coding" (AES 112, 2002), without the side
information a coder would send: the upper half of the band is copied up, at the level of its top and falling from there.
Import this lazily: it brings scipy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import ShortTimeFFT, welch
from scipy.signal.windows import hann

Samples = np.ndarray[Any, np.dtype[Any]]

FLOOR_DB = -80.0
"""Under this, against the strongest bin of the mean spectrum, a band counts as empty."""
FULL = 0.9
"""A band up to this share of half the rate lacks nothing."""
ROLLOFF_DB = -12.0
"""What the copied band falls by over an octave."""
_HOPS = 4
_TRANSITION = 0.92
"""The last part of a band lies in the flank of the filter that made it narrow."""


def edge_hz(samples: Samples, rate_hz: int) -> float:
    """The highest frequency that the samples (channels, frames) hold, or half the rate for silence."""
    window = min(samples.shape[1], _window(rate_hz))
    hz, power = welch(samples, rate_hz, nperseg=window, axis=1)
    power = power.max(axis=0)
    heard = np.flatnonzero(power > power.max() * 10 ** (FLOOR_DB / 10))
    return float(hz[heard[-1]]) if len(heard) else rate_hz / 2


def extend(samples: Samples, rate_hz: int, edge_hz: float) -> Samples:
    """The samples (channels, frames) with up to an octave above `edge_hz` added; what is below stays to the bit but for rounding.

    Band for band, [e/2, e) is moved to [e, 3e/2) and [3e/2, 2e), its mean slope taken out, with the power that
    its top quarter has in each frame of 20 ms. Unchanged where `edge_hz` is near half the rate.
    """
    if edge_hz >= FULL * rate_hz / 2:
        return samples
    window = _window(rate_hz)
    bins = window // 2 + 1
    edge = int(_TRANSITION * edge_hz * window / rate_hz)
    width = edge // 2 // _HOPS * _HOPS  # a shift by so many bins keeps the phase from frame to frame
    if not width:
        return samples
    frames = ShortTimeFFT(np.sqrt(hann(window, sym=False)), window // _HOPS, rate_hz, phase_shift=None)
    falling = (np.arange(edge, min(edge + 2 * width, bins)) / edge) ** (ROLLOFF_DB / 20 / np.log10(2))
    added = np.empty_like(samples)
    for channel, samples_of_one in enumerate(samples):
        padded = np.pad(samples_of_one, (0, max(0, window - len(samples_of_one))))  # it takes no less
        spectrum = frames.stft(padded)
        band = spectrum[edge - width : edge]
        power = np.square(np.abs(band))
        top = power[-width // 4 :].mean(axis=0)
        mean = power.mean(axis=1)  # a coder may have left holes in it, so it gets a floor
        slope, _ = np.polyfit(np.arange(width), np.log10(mean + 1e-8 * mean.max() + np.finfo(np.float64).tiny), 1)
        band = band * 10 ** (-slope / 2 * np.arange(width))[:, None]  # level, so that two copies in a row make no steps
        whole = np.square(np.abs(band)).mean(axis=0)
        level = np.sqrt(np.minimum(1.0, top / np.maximum(whole, np.finfo(np.float64).tiny)))
        above = np.zeros_like(spectrum)
        above[edge : edge + len(falling)] = (np.concatenate((band, band)) * level)[: len(falling)] * falling[:, None]
        added[channel] = frames.istft(above, k1=len(padded))[: len(samples_of_one)]
    return np.asarray(samples + added, np.float32)


def _window(rate_hz: int) -> int:
    """Frames of about 20 ms, a power of two."""
    return int(2 ** round(np.log2(0.02 * rate_hz)))
