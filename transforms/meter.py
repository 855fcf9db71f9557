"""Tempo and meter from the autocorrelation of onset strengths, which adds up over the pieces of an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

RATE_HZ = 22050
HOP_FRAMES = 256
LAG_S = HOP_FRAMES / RATE_HZ
LAGS = 1034
"""Lags of the autocorrelation, of `LAG_S` seconds each: 12 s, three slow bars."""
BPM = (50.0, 200.0)
METERS = ("4/4", "3/4")
CENTRE_BPM = 120.0
COMB_BEATS = 16
CLEAR = 0.2
"""Clarity of a pulse from which on the meter is as sure as its evidence."""
WEIGHTS: tuple[float, ...] = (
    *(1.22, 4.52),
    *(5.86, 14.66, -1.06, 7.67, -0.22, 0.49, 0.49, 4.63, 5.23, -4.69, -8.86),
    *(4.52, 0.53, 17.81, -0.49, 3.74, 5.49, 4.25, -0.5, 1.36, -2.83, -8.86),
    *(-0.45,),
)
"""Fitted by `benchmarks.fit_meter`: of any tempo, then of 4/4, of 3/4, and for 3/4 itself."""


class Meter(NamedTuple):
    """`clarity` is the mean autocorrelation at the multiples of the beat, 0..1 (pulse clarity, Lartillot et al. 2008)."""

    bpm: float
    signature: str
    clarity: float
    signature_confidence: float


def find_meter(products: Sequence[float], frames: Sequence[int]) -> Meter | None:
    """Tempo and meter from summed autocorrelations of pieces that were so many frames long; None without any onset.

    Each tempo of a fine grid is judged in each meter by `evidence`; the best tempo is then sharpened by a comb over
    many beats.
    """
    import numpy as np

    correlation = normalized(np.asarray(products, np.float64), frames)
    if correlation is None:
        return None
    tempi = np.exp(np.arange(np.log(BPM[0]), np.log(BPM[1]), 0.003))
    scores = evidence(correlation, tempi) @ np.asarray(WEIGHTS)
    best, at = np.unravel_index(scores.argmax(), scores.shape)
    bpm, clarity = _sharpened(correlation, float(tempi[at]))
    lead = float(scores[best].max() - np.delete(scores, best, axis=0).max())
    sure = float(np.tanh(lead / 2)) * min(1.0, clarity / CLEAR)  # twice the logistic probability, less one
    return Meter(round(bpm, 2), METERS[best], round(clarity, 3), round(sure, 3))


def evidence(correlation: np.ndarray[Any, Any], tempi: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What speaks for each tempo in each meter, shape (meters, tempi, features), for `WEIGHTS` to be multiplied with.

    Of a meter: the autocorrelation at one to eight beats, and at halves, thirds and quarters of a beat. Of a tempo: its
    distance in octaves from 120 BPM and the square of that (the log-normal prior of Ellis 2007).
    """
    import numpy as np

    beat, lags = 60 / tempi / LAG_S, np.arange(len(correlation))

    def near(beats: Sequence[float]) -> np.ndarray[Any, Any]:
        return np.asarray(np.mean([np.interp(beat * share, lags, correlation, right=0) for share in beats], axis=0))

    heard = [near([count]) for count in range(1, 9)]
    heard += [near((1 / 2, 3 / 2, 5 / 2)), near((1 / 3, 2 / 3, 4 / 3, 5 / 3)), near((1 / 4, 3 / 4, 5 / 4, 7 / 4))]
    octaves, none = np.log2(tempi / CENTRE_BPM), np.zeros(len(tempi))
    shared, absent = [-octaves * octaves, octaves], [none] * len(heard)
    return np.array([[*shared, *heard, *absent, none], [*shared, *absent, *heard, none + 1]]).transpose(0, 2, 1)


def normalized(products: np.ndarray[Any, Any], frames: Sequence[int]) -> np.ndarray[Any, Any] | None:
    """The mean product at each lag over the mean square; 0 where fewer than an eighth of the frames have a partner."""
    import numpy as np

    lags = np.arange(len(products))
    pairs = np.sum([np.maximum(0, count - lags) for count in frames], axis=0)
    if not products[0] > 0:
        return None
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
