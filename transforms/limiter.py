"""A look-ahead limiter: gain that falls before a peak and rises after it, so smoothly that nothing is clipped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d

from transforms.blocks import BLOCK_FRAMES, Block, recut

OVERSAMPLING = 4
_REACH_S = 0.02
_EDGE_FRAMES = 512
"""What the oversampling filter sees beyond a frame."""


def limit(blocks: Iterable[Block], rate_hz: int, gain: float, ceiling: float) -> Iterator[Block]:
    """The blocks times `gain`, with true peaks held under `ceiling` (both linear). All channels get the same gain.

    Each frame needs a gain of at most ceiling / peak, the peak being that of the 4x oversampled signal around it. The
    least need within 20 ms either way, averaged over as long, is never more than any frame's own need. The result does
    not depend, but for rounding, on how the signal was cut into blocks, and has its length.
    """
    reach = max(1, round(_REACH_S * rate_hz))
    margin = 2 * reach + _EDGE_FRAMES
    window: list[Block] = []
    frames = 0
    for block in recut(blocks):
        window = window or [np.zeros((block.shape[0], margin), np.float32)]
        window.append(block * np.float32(gain))
        frames += block.shape[1]
        if frames >= BLOCK_FRAMES + margin:
            whole = np.concatenate(window, axis=1)
            yield _limit_middle(whole, margin, reach, ceiling)
            window, frames = [whole[:, -2 * margin :]], margin
    if window:
        after = np.zeros((window[0].shape[0], margin), np.float32)
        yield _limit_middle(np.concatenate((*window, after), axis=1), margin, reach, ceiling)


def _limit_middle(window: Block, margin: int, reach: int, ceiling: float) -> Block:
    """All of the window but the margins, which are there to be looked at."""
    middle = window[:, margin:-margin]
    peaks = true_peaks(window)
    if peaks.max(initial=0.0) <= ceiling:
        return middle
    need = np.minimum(1.0, ceiling / np.maximum(peaks, ceiling))
    least = minimum_filter1d(need, 2 * reach + 1, mode="nearest")
    # two boxes in a row weigh as a triangle, which is as wide as the minimum
    box = reach + 1 - reach % 2
    smooth = uniform_filter1d(uniform_filter1d(least, box, mode="nearest"), box, mode="nearest")
    return np.asarray(middle * smooth[margin:-margin].astype(np.float32))


def true_peaks(window: Block) -> Block:
    """For every frame, the highest absolute value in any channel of the oversampled signal up to the next frames."""
    frames = window.shape[1]
    fine = soxr.resample(np.ascontiguousarray(window.T, dtype=np.float32), 1, OVERSAMPLING, quality="HQ")
    loudest = np.abs(fine).max(axis=1)[: frames * OVERSAMPLING].reshape(frames, OVERSAMPLING).max(axis=1)
    return np.asarray(np.maximum(maximum_filter1d(loudest, 3, mode="nearest"), np.abs(window).max(axis=0)))
