"""A discrete echo, y[n] = x[n] + a x[n - d]: found in the autocorrelation of the whitened signal, and taken out recursively.

An echo ripples the power spectrum with the period 1 / d, which stands alone once the spectrum's envelope is divided out
(Bogert, Healy and Tukey 1963, "The quefrency alanysis of time series for echoes"). The autocorrelation of what is left is
a / (1 + a^2) at the lag d, and nothing at 2 d: that tells an echo from a beat, which comes again at every multiple.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import fft, ndimage

Samples = np.ndarray[Any, np.dtype[Any]]

LEAST_S, MOST_S = 0.04, 1.0
_LEAST_GAIN = 0.1
"""An echo 20 dB down is not heard after speech."""
_MOST_GAIN = 0.9
"""The inverse filter of a stronger one would ring for seconds."""
_CLEAR = 12.0
"""How far the peak stands above the other lags, in their standard deviations: chance reaches about 5."""
_ALONE = 0.5
"""The most that the lag 2 d, or another lag, may have of the peak."""
_ENVELOPE_HZ = 100.0
_FLOOR_DB = 60.0
"""Frequencies this far below the loudest hold rounding noise, not the echo."""


class Echo(NamedTuple):
    """`delay` in frames (a whole number) and `gain` (linear, in (0, 1))."""

    delay: int
    gain: float


def find_echo(samples: Samples, rate_hz: int) -> Echo | None:
    """The one clear echo in samples of shape (channels, frames), which all channels share, or None."""
    longest, least = round(MOST_S * rate_hz), round(LEAST_S * rate_hz)
    frames = samples.shape[1]
    if frames < 3 * longest // 2:
        longest = frames // 3
    if longest <= least:
        return None
    lags = _whitened_autocorrelation(samples, rate_hz, 2 * longest + 3)
    if lags is None:
        return None
    within = lags[least : longest + 1]
    delay = least + int(within.argmax())
    peak = float(lags[delay])
    spread = 1.4826 * float(np.median(np.abs(within)))
    near = max(4, rate_hz // 1000)
    others = np.concatenate((lags[least : max(least, delay - near)], lags[delay + near : longest + 1]))
    again = np.abs(lags[2 * delay - 2 : 2 * delay + 3]).max(initial=0.0)
    if peak < _CLEAR * spread or max(again, np.abs(others).max(initial=0.0)) > _ALONE * peak:
        return None
    # of the sound only the part that is not in the last `delay` frames echoes: r = a q / (1 + a^2 q)
    squares = np.square(samples, dtype=np.float64)
    part = float(squares[:, :-delay].sum() / squares.sum())
    gain = (1 - np.sqrt(max(0.0, 1 - 4 * peak * peak / part))) / (2 * peak)
    return Echo(delay, min(float(gain), _MOST_GAIN)) if gain >= _LEAST_GAIN else None


def _whitened_autocorrelation(samples: Samples, rate_hz: int, count: int) -> Samples | None:
    """The first `count` lags, of which lag 0 is 1; None for silence."""
    size = fft.next_fast_len(samples.shape[1] + count, real=True)
    power = np.zeros(size // 2 + 1)
    for channel in samples:
        spectrum = fft.rfft(channel.astype(np.float64), size)
        power += spectrum.real**2 + spectrum.imag**2
    envelope = ndimage.uniform_filter1d(power, max(1, round(_ENVELOPE_HZ * size / rate_hz)), mode="nearest")
    loudest = envelope.max()
    if not loudest > 0:
        return None
    heard = envelope > loudest * 10 ** (-_FLOOR_DB / 10)
    white = np.divide(power, envelope, out=np.zeros_like(power), where=heard)
    lags = fft.irfft(white, size)[:count]
    return np.asarray(lags / lags[0])


def remove_echo(samples: Samples, echo: Echo, amount: float) -> Samples:
    """x[n] = y[n] - amount a x[n - d] over samples of shape (channels, frames), which is stable as a < 1.

    Before the first frame there is silence, so what echoes into the start from before it stays, and fades by a factor a each d.
    """
    delay, gain = echo.delay, np.float32(amount * echo.gain)
    out = samples.astype(np.float32, copy=True)
    for start in range(delay, out.shape[1], delay):
        block = out[:, start : start + delay]
        block -= gain * out[:, start - delay : start - delay + block.shape[1]]
    return out
