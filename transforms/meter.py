"""Tempo and meter from the autocorrelation of onset strengths, which adds up over the pieces of an item.

Low, middle and high sounds are heard apart, each over its own loudness (as in Scheirer, "Tempo and beat analysis of acoustic
musical signals", 1998): the bass tells bars and the cymbals what a beat is divided into, and only both together
which of two tempi an octave apart is the beat. In their sum the loudest range drowns the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

RATE_HZ = 22050
HOP_FRAMES = 256
LAG_S = HOP_FRAMES / RATE_HZ
RANGES = 4
"""Ranges of frequency, from low to high, that are heard apart."""
LAGS = 1034
"""Lags of the autocorrelation, of `LAG_S` seconds each: 12 s, three slow bars."""
BPM = (50.0, 200.0)
METERS = ("4/4", "3/4")
CENTRE_BPM = 120.0
HEARD_BEATS = (
    *((count,) for count in range(1, 9)),
    (1 / 2, 3 / 2, 5 / 2),
    (1 / 3, 2 / 3, 4 / 3, 5 / 3),
    (1 / 4, 3 / 4, 5 / 4, 7 / 4),
)
"""Where an autocorrelation is read, in beats; the mean of those that belong together."""
COMB_BEATS = 16
FAINT = 1e-6
"""A range with less than this part of the strongest one's onsets has none."""
CLEAR = 0.2
"""Clarity of a pulse from which on the meter is as sure as its evidence."""
WEIGHTS: tuple[float, ...] = (
    *(1.23, 1.43),
    *(0.01, 2.96, -2.03, 2.17, -0.17, 0.46, -0.17, 1.93, -0.22, -0.32, 0.02),
    *(1.23, 0.89, 0.24, 1.1, 0.98, -0.83, 1.06, 0.42, -0.28, -0.71, -0.91),
    *(1.91, -0.77, 1.68, -0.03, 1.53, -1.02, 1.9, -0.41, -0.16, -0.5, -0.81),
    *(1.08, 0.28, 1.03, -0.06, 1.12, 0.29, 1.13, -0.08, 1.39, -0.88, -1.42),
    *(0.83, -1.44, 3.45, -1.48, 1.02, 0.83, 0.88, -1.52, -1.43, -0.21, -0.09),
    *(0.84, -0.09, 1.83, -0.15, 1.0, 0.53, 0.71, -0.48, -1.11, -0.47, -0.88),
    *(1.17, 0.66, 0.84, 0.63, 1.14, 0.42, 0.86, 0.43, -0.97, -0.48, -0.85),
    *(1.35, 1.0, 0.58, 0.99, 1.48, 0.25, 1.29, 0.98, -0.2, -0.59, -1.47),
    *(0.95,),
)
"""Fitted by `benchmarks.fit_meter`: of any tempo, then of 4/4 and of 3/4 a row for each range, and for 3/4 itself."""


class Meter(NamedTuple):
    """`clarity` is the mean autocorrelation at the multiples of the beat, 0..1 (pulse clarity, Lartillot et al. 2008)."""

    bpm: float
    signature: str
    clarity: float
    signature_confidence: float


def find_meter(products: Sequence[Sequence[float]], frames: Sequence[int]) -> Meter | None:
    """Tempo and meter from summed autocorrelations of pieces that were so many frames long; None without any onset.

    `products` are of shape (`RANGES`, `LAGS`). Each tempo of a fine grid is judged in each meter by `evidence`; the best tempo
    is then sharpened by a comb over many beats.
    """
    import numpy as np

    heard = np.asarray(products, np.float64)
    if not heard[:, 0].max() > 0:
        return None
    correlation = normalized(heard.sum(axis=0), frames)
    tempi = np.exp(np.arange(np.log(BPM[0]), np.log(BPM[1]), 0.003))
    scores = evidence(ranged(heard, frames), tempi) @ np.asarray(WEIGHTS)
    best, at = np.unravel_index(scores.argmax(), scores.shape)
    bpm, clarity = _sharpened(correlation, float(tempi[at]))
    lead = float(scores[best].max() - np.delete(scores, best, axis=0).max())
    sure = float(np.tanh(lead / 2)) * min(1.0, clarity / CLEAR)  # twice the logistic probability, less one
    return Meter(round(bpm, 2), METERS[best], round(clarity, 3), round(sure, 3))


def evidence(correlations: np.ndarray[Any, Any], tempi: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What speaks for each tempo in each meter, shape (meters, tempi, features), for `WEIGHTS` to be multiplied with.

    Of a meter, for each of the `correlations`: its value at one to eight beats, and at halves, thirds and quarters of a beat.
    Of a tempo: its distance in octaves from 120 BPM and the square of that (the log-normal prior of Ellis 2007).
    """
    import numpy as np

    beat, lags = 60 / tempi / LAG_S, np.arange(correlations.shape[1])

    def near(beats: Sequence[float], correlation: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(np.mean([np.interp(beat * share, lags, correlation, right=0) for share in beats], axis=0))

    heard = [near(beats, correlation) for correlation in correlations for beats in HEARD_BEATS]
    octaves, none = np.log2(tempi / CENTRE_BPM), np.zeros(len(tempi))
    shared, absent = [-octaves * octaves, octaves], [none] * len(heard)
    return np.array([[*shared, *heard, *absent, none], [*shared, *absent, *heard, none + 1]]).transpose(0, 2, 1)


def ranged(products: np.ndarray[Any, Any], frames: Sequence[int]) -> np.ndarray[Any, Any]:
    """Each range's products by themselves `normalized`; 0 for one that is as good as silent."""
    import numpy as np

    least = FAINT * products[:, 0].max()
    return np.array([normalized(each, frames) if each[0] > least else np.zeros(len(each)) for each in products])


def normalized(products: np.ndarray[Any, Any], frames: Sequence[int]) -> np.ndarray[Any, Any]:
    """The mean product at each lag over the mean square, which is not 0; 0 where fewer than an eighth of the frames have a partner."""
    import numpy as np

    lags = np.arange(len(products))
    pairs = np.sum([np.maximum(0, count - lags) for count in frames], axis=0)
    found = np.where(pairs > sum(frames) / 8, products / np.maximum(pairs, 1), 0.0)
    return np.asarray(found / found[0])


def _sharpened(correlation: np.ndarray[Any, Any], bpm: float) -> tuple[float, float]:
    """The tempo within 2 % whose multiples meet the most correlation, and the mean of that over eight beats."""
    import numpy as np

    tempi = bpm * np.linspace(0.98, 1.02, 201)
    lags = np.arange(len(correlation))
    beats = np.arange(1, COMB_BEATS + 1)[:, None] * (60 / tempi / LAG_S)
    comb = np.interp(beats, lags, correlation, right=0)
    best = int(comb.mean(axis=0).argmax())
    return float(tempi[best]), float(np.clip(comb[:8, best].mean(), 0, 1))
