"""REPET-SIM and the extraction of the centre, as masks on one short-time spectrum."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import istft, stft

Array = np.ndarray[Any, np.dtype[Any]]

WINDOW = 4096
"""Frames of one spectrum: 93 ms at 44.1 kHz, which parts the partials of a low voice."""
HOP = WINDOW // 4
APART_S = 0.25
"""Least distance between two spectra that count as repetitions of one another."""
NEIGHBOURS = 25
"""Most repetitions that the median is taken over."""
CENTRED = 2
"""The power of the centre's mask: the higher, the less of what is nearly in the centre stays in the voice."""
LOWEST_HZ = 100.0
"""Below this nothing is voice (as in Rafii's own REPET-SIM)."""
BLOCK = 64
"""Spectra whose repetitions are gathered at once."""
TINY = 1e-10


def vocals(samples: Array, rate_hz: int) -> Array:
    """The part of the samples, float32 of shape (channels, frames), that neither repeats nor, in stereo, stands aside."""
    frames = samples.shape[1]
    mix = np.pad(samples.astype(np.float32, copy=False), ((0, 0), (0, max(0, WINDOW - frames))))
    spectra = stft(mix, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]  # (channels, bins, times)
    mask = repetition_mask(np.sqrt(np.mean(np.abs(spectra) ** 2, axis=0)), round(APART_S * rate_hz / HOP))
    if len(spectra) == 2:
        mask *= centre_mask(spectra[0], spectra[1]) ** CENTRED
    mask[: round(LOWEST_HZ * WINDOW / rate_hz)] = 0
    made = istft(spectra * mask, nperseg=WINDOW, noverlap=WINDOW - HOP)[1]
    return np.ascontiguousarray(made[:, :frames], dtype=np.float32)


def repetition_mask(magnitudes: Array, apart: int) -> Array:
    """The share, 0 to 1, of what does not repeat in magnitudes of shape (bins, times).

    For each spectrum the repeating part is the median of the spectra most like it, by the cosine of their angle, that lie
    at least `apart` spectra from one another; it is never more than the spectrum itself.
    """
    unit = magnitudes / (np.linalg.norm(magnitudes, axis=0) + TINY)
    likeness = unit.T @ unit
    peaks = likeness == maximum_filter1d(likeness, 2 * apart + 1, axis=1, mode="constant")
    count = max(1, min(NEIGHBOURS, int(peaks.sum(axis=1).min())))
    ranked = np.argsort(np.where(peaks, -likeness, np.inf), axis=1, kind="stable")[:, :count]
    repeating = np.empty_like(magnitudes)
    for start in range(0, len(ranked), BLOCK):
        found = magnitudes[:, ranked[start : start + BLOCK]]
        repeating[:, start : start + BLOCK] = np.median(found, axis=2)
    np.minimum(repeating, magnitudes, out=repeating)
    return soft_mask(magnitudes - repeating, repeating)


def centre_mask(left: Array, right: Array) -> Array:
    """The share, 0 to 1, of what is alike in both channels: that of the mid's energy over the side's, nothing where it is under it."""
    mid, side = np.abs(left + right) ** 2, np.abs(left - right) ** 2
    return np.asarray(np.clip((mid - side) / (mid + side + TINY), 0, 1))


def soft_mask(wanted: Array, rest: Array) -> Array:
    """wanted^2 / (wanted^2 + rest^2), and 0 where both are nothing."""
    return np.asarray(wanted**2 / (wanted**2 + rest**2 + TINY**2))
