"""Fits `transforms.meter.WEIGHTS` on generated music: which tempo and meter, of those that share its pulse, a listener takes.

A conditional logit over the song's tempo times simple ratios in each meter. `python -m benchmarks.fit_meter` prints the
weights; `benchmarks.quality_analyze` measures them on songs of another seed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

from benchmarks.music import Song, songs
from benchmarks.quality_analyze import describe
from transforms.meter import BPM, METERS, evidence, ranged

RATIOS = (1, 2, 1 / 2, 3, 1 / 3, 3 / 2, 2 / 3, 3 / 4, 4 / 3, 1 / 4, 4)
SHRINK = 1e-3
FITTED_ON = ((600, 424_242),)
"""Numbers of songs and their seeds."""


def fit(heard: Sequence[tuple[Song, np.ndarray, int]]) -> np.ndarray:
    """Weights from songs with their summed autocorrelations and the frames these are over."""
    given, right = [], []
    for song, products, frames in heard:
        tempi = np.array([song.bpm * ratio for ratio in RATIOS if BPM[0] * 0.96 <= song.bpm * ratio <= BPM[1] * 1.025])
        features = evidence(ranged(products, [frames]), tempi)
        given.append(features.reshape(-1, features.shape[-1]))
        right.append(METERS.index(song.meter) * len(tempi))

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = SHRINK * len(given) * weights @ weights, 2 * SHRINK * len(given) * weights
        for features, index in zip(given, right, strict=True):
            scores = features @ weights
            total += logsumexp(scores) - scores[index]
            slope = slope - features[index] + np.exp(scores - logsumexp(scores)) @ features
        return total, slope

    return np.asarray(minimize(loss, np.zeros(given[0].shape[1]), jac=True, method="L-BFGS-B").x)


if __name__ == "__main__":
    rows = [(song, describe(song)) for count, seed in FITTED_ON for song in songs(count, seed=seed)]
    print(np.round(fit([(song, np.array(fields["onsets"]), fields["frames"]) for song, fields in rows]), 2).tolist())
