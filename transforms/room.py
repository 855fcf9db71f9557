"""The sound without the room: delayed linear prediction (WPE) in each frequency band, after a discrete echo is taken out.

T. Nakatani et al. 2010, "Speech dereverberation based on variance-normalized delayed linear prediction"; T. Yoshioka and
T. Nakatani 2012 for several channels; the parts are those of nara_wpe (L. Drude et al. 2018).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from nara_wpe.wpe import abs_square, build_y_tilde, hermite, perform_filter_operation_v5, window_mean
from scipy.ndimage import uniform_filter
from scipy.signal import ShortTimeFFT, windows
from threadpoolctl import threadpool_limits

from transforms import echo_path
from transforms.limiter import limit

Samples = np.ndarray[Any, np.dtype[Any]]

# a piece is one thread's work; and how a product of matrices is shared out among threads shows in its last bits
threadpool_limits(1, "blas")

FRAME_S, HOP_S = 2048 / 48000, 512 / 48000
DELAY = 3
"""Hops between a sound and what predicts its tail: 32 ms, within which reflections belong to the voice."""


class Strength(NamedTuple):
    """How much is taken out.

    `taps` hops predict the tail, refined `iterations` times; `tail` is the share of it that is subtracted, `echo` that of
    an echo's gain. Where the tail was strong, `rest` times its power is taken for what the prediction left.
    """

    taps: int
    iterations: int
    tail: float
    rest: float
    echo: float


STRENGTHS = {
    1: Strength(10, 2, 0.6, 0.0, 0.5),
    2: Strength(15, 2, 0.8, 0.3, 0.7),
    3: Strength(20, 3, 1.0, 0.6, 0.9),
    4: Strength(28, 3, 1.0, 1.0, 0.95),
    5: Strength(36, 3, 1.0, 1.5, 1.0),
}
_LEAST_GAIN = 10 ** (-15 / 20)
"""The least that is left of a band at a moment, so that what is taken does not leave holes that ring."""
_SMOOTH = (3, 5)
"""Bands and hops over which powers are averaged before they make a gain."""
_LOADING = 1e-4
"""Added to each correlation matrix, as a part of its mean diagonal: two equal channels would make it singular."""
_FLOOR = 1e-3
"""Least power of a frame in its band, of the band's mean: digital silence would outweigh all sound."""


def dry(samples: Samples, rate_hz: int, type: str, intensity: int) -> Samples:
    """Samples of shape (channels, frames) without their room; as many, and peaks no higher than full scale or what came in."""
    strength = STRENGTHS[intensity]
    heard = np.ascontiguousarray(samples, dtype=np.float32)
    out = heard
    if type != "reverb":
        echo = echo_path.find_echo(out, rate_hz)
        out = out if echo is None else echo_path.remove_echo(out, echo, strength.echo)
    if type != "echo":
        out = remove_tail(out, rate_hz, strength)
    ceiling = max(1.0, float(np.abs(heard).max(initial=0.0)))
    if np.abs(out).max(initial=0.0) > ceiling:
        out = np.concatenate(list(limit([out], rate_hz, 1.0, ceiling)), axis=1)
    return out


def remove_tail(samples: Samples, rate_hz: int, strength: Strength) -> Samples:
    """Samples of shape (channels, frames) less the share of their late reverberation that `strength` says."""
    channels, frames = samples.shape
    hop, size = round(HOP_S * rate_hz), round(FRAME_S * rate_hz)
    if frames < size:
        return samples
    transform = ShortTimeFFT(windows.hann(size, sym=False).astype(np.float32), hop, rate_hz, fft_mode="onesided")
    bands = transform.stft(samples, padding="zeros")  # (channels, bands, hops)
    groups = [slice(0, 2)] if channels == 2 else [slice(one, one + 1) for one in range(channels)]
    for group in groups:
        taps = strength.taps // bands[group].shape[0]  # two channels tell more of a room, and as many unknowns fit the piece
        tail = np.empty_like(bands[group])
        for band in range(bands.shape[1]):
            tail[:, band] = predict(bands[group, band].astype(np.complex128), taps, strength.iterations)
        bands[group] -= np.float32(strength.tail) * tail
        if strength.rest:
            bands[group] *= _gain(bands[group], tail, strength.rest)
    return np.asarray(transform.istft(bands, k1=frames), dtype=np.float32)


def predict(seen: Samples, taps: int, iterations: int) -> Samples:
    """Of one band, complex of shape (channels, hops), what the hops from `DELAY` on before each one predict of it."""
    floor = _FLOOR * abs_square(seen).mean()
    if not floor > 0:
        return np.zeros_like(seen)
    before = build_y_tilde(seen, taps, DELAY)
    direct = seen
    for _ in range(iterations):
        power = window_mean(abs_square(direct).mean(axis=0), 1)
        weighted = before / np.maximum(power, floor)
        correlation = weighted @ hermite(before)
        diagonal = np.einsum("ii->i", correlation)
        diagonal += _LOADING * diagonal.real.mean() + np.finfo(float).tiny
        matrix = np.linalg.solve(correlation, weighted @ hermite(seen))
        direct = perform_filter_operation_v5(seen, before, matrix)
    return np.asarray(seen - direct)


def _gain(left: Samples, tail: Samples, rest: float) -> Samples:
    """Wiener's gain against a remaining tail of `rest` times the predicted one's power; one for all channels, as their image asks.

    Both are of shape (channels, bands, hops). After K. Kinoshita et al. 2009, "Suppression of late reverberation effect on
    speech signal using long-term multiple-step linear prediction", which subtracts the spectrum of the predicted tail.
    """
    wanted, unwanted = (uniform_filter(abs_square(one).mean(axis=0), _SMOOTH, mode="nearest") for one in (left, tail))
    both = wanted + rest * unwanted
    gain = np.divide(wanted, both, out=np.ones_like(wanted), where=both > 0)
    return np.asarray(np.maximum(gain, _LEAST_GAIN), dtype=np.float32)
