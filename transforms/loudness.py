"""Loudness by ITU-R BS.1770-4: measured by blocks, and brought to a target under a true-peak ceiling.

Import this lazily: it brings scipy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from pyloudnorm.iirfilter import IIRfilter
from scipy.signal import sosfilt

from transforms.blocks import Block, cut, gather
from transforms.errors import WavemillError
from transforms.limiter import OVERSAMPLING, limit
from transforms.records import Audio

Blocks = Callable[[], Iterator[Block]]
"""Makes the blocks of one signal, from the start at every call."""

_LOWEST_HZ = 4000
_GATE_LUFS = -70.0
_CHANNEL_WEIGHTS = {5: (1, 1, 1, 1.41, 1.41), 6: (1, 1, 1, 0, 1.41, 1.41)}
"""By the order L R C (LFE) Ls Rs; the channels of any other count weigh the same."""
_MOST_LIMITING_DB = 12.0
_CLOSE_ENOUGH_DB = 0.1
_ROUNDS = 5
_CEILING_MARGIN_DB = 0.05


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS and true peak in dBTP; both are -inf for silence."""

    lufs: float
    true_peak_dbtp: float


class Meter:
    """Integrated loudness and true peak of one signal that comes by blocks of shape (channels, frames).

    The K-weighting is pyloudnorm's filter with the coefficients of BS.1770 itself, which its `DeMan` class has (its
    default class reads 0.04 LU low at 48 kHz and 0.25 LU at 8 kHz). Raises `bad_option` under 4 kHz, where there is no
    such filter.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        if rate_hz < _LOWEST_HZ:
            raise WavemillError("bad_option", f"loudness is defined from {_LOWEST_HZ} Hz on, not at {rate_hz}", "loudness")
        shelf = IIRfilter(3.99984385397, 0.7071752369554193, 1681.9744509555319, rate_hz, "high_shelf_DeMan")
        high_pass = IIRfilter(0.0, 0.5003270373253953, 38.13547087613982, rate_hz, "high_pass_DeMan")
        self._sections = np.array([np.concatenate((part.b, part.a)) for part in (shelf, high_pass)])
        self._state = np.zeros((len(self._sections), channels, 2))
        self._weights = np.array(_CHANNEL_WEIGHTS.get(channels, (1,) * channels), dtype=np.float64)
        self._oversampler = soxr.ResampleStream(rate_hz, OVERSAMPLING * rate_hz, channels, dtype="float32", quality="HQ")
        self._rate_hz, self._channels = rate_hz, channels
        self._peak, self._energy, self._frames = 0.0, 0.0, 0
        self._rest = np.zeros(0)
        self._hops: list[Block] = []

    def add(self, block: Block) -> None:
        """Measure the next block, of any length."""
        for part in cut(block):
            self._add(part)

    def _add(self, block: Block) -> None:
        weighted, self._state = sosfilt(self._sections, block.astype(np.float64), axis=1, zi=self._state)
        power = self._weights @ np.square(weighted)
        start = self._frames - len(self._rest)
        self._frames += block.shape[1]
        self._energy += float(power.sum())
        fresh = np.concatenate((self._rest, power))
        # hop j of 100 ms ends before frame (j + 1) * rate // 10, as in pyloudnorm
        first, end = -(-10 * start // self._rate_hz), (10 * (self._frames + 1) - 1) // self._rate_hz
        edges = np.arange(first, end + 1) * self._rate_hz // 10 - start
        if len(edges) > 1:
            self._hops.append(np.add.reduceat(fresh[: edges[-1]], edges[:-1]))
            fresh = fresh[edges[-1] :]
        self._rest = fresh
        self._see_peak(self._oversampler.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32)))
        self._see_peak(block)

    def _see_peak(self, samples: Block) -> None:
        self._peak = max(self._peak, float(np.abs(samples).max(initial=0.0)))

    def read(self) -> Loudness:
        """The result, once, when all blocks have been added.

        A signal under 0.4 s, too short for one gating block, is one block of its own length.
        """
        self._see_peak(self._oversampler.resample_chunk(np.zeros((0, self._channels), np.float32), last=True))
        hops = np.concatenate(self._hops) if self._hops else np.zeros(0)
        if len(hops) >= 4:
            powers = np.convolve(hops, np.ones(4), "valid") / (0.4 * self._rate_hz)
        else:
            powers = np.array([self._energy / max(1, self._frames)])
        heard = powers[powers >= _to_power(_GATE_LUFS)]
        if len(heard):
            heard = heard[heard > heard.mean() / 10]
        return Loudness(_to_lufs(float(heard.mean())) if len(heard) else -math.inf, _to_db(self._peak))


@dataclass(frozen=True, slots=True)
class Gain:
    """What brings a signal to its target: a gain, a ceiling for the limiter where one is needed, and what comes of it."""

    rate_hz: int
    gain_db: float
    ceiling_dbtp: float | None
    loudness: Loudness

    def apply(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """The blocks, brought to the target."""
        gain = _to_ratio(self.gain_db)
        if self.ceiling_dbtp is None:
            return (block * np.float32(gain) for block in blocks)
        return limit(blocks, self.rate_hz, gain, _to_ratio(self.ceiling_dbtp - _CEILING_MARGIN_DB))


def measure(audio: Audio) -> Loudness:
    """Integrated loudness and true peak, by blocks: hours need no more memory than seconds."""
    return measure_blocks(cut(audio.samples), audio.rate_hz, audio.channels)


def measure_blocks(blocks: Iterable[Block], rate_hz: int, channels: int) -> Loudness:
    """Integrated loudness and true peak of blocks of shape (channels, frames)."""
    meter = Meter(rate_hz, channels)
    for block in blocks:
        meter.add(block)
    return meter.read()


def normalize(audio: Audio, lufs: float, true_peak_dbtp: float) -> tuple[Audio, Loudness]:
    """The audio at a loudness, its true peaks under a ceiling, and both as measured on the result; see `fit`."""
    gain = fit(lambda: cut(audio.samples), audio.rate_hz, audio.channels, lufs, true_peak_dbtp)
    return gather(gain.apply(cut(audio.samples)), audio.rate_hz, audio.channels), gain.loudness


def fit(make: Blocks, rate_hz: int, channels: int, lufs: float, true_peak_dbtp: float) -> Gain:
    """The gain that brings a signal to `lufs` with true peaks under `true_peak_dbtp`, found in one to six passes over it.

    One pass when gain alone will do. Otherwise peaks are limited, and the gain raised until what limiting took away is
    made up, but never so far that a peak is cut by more than 12 dB: what cannot be reached without crushing is not, and
    `loudness` says where it ended. Silence stays silence.
    """
    source = measure_blocks(make(), rate_hz, channels)
    if source.lufs == -math.inf:
        return Gain(rate_hz, 0.0, None, source)
    most_db = true_peak_dbtp + _MOST_LIMITING_DB - source.true_peak_dbtp
    gain_db = min(lufs - source.lufs, most_db)
    if source.true_peak_dbtp + gain_db <= true_peak_dbtp:
        return Gain(rate_hz, gain_db, None, Loudness(source.lufs + gain_db, source.true_peak_dbtp + gain_db))
    for _ in range(_ROUNDS):
        tried = Gain(rate_hz, gain_db, true_peak_dbtp, source)
        result = measure_blocks(tried.apply(make()), rate_hz, channels)
        short_db = lufs - result.lufs
        if abs(short_db) <= _CLOSE_ENOUGH_DB or (short_db > 0 and gain_db >= most_db):
            break
        # half as much again, since the limiter takes back about a third of every step
        gain_db = min(gain_db + 1.5 * short_db, most_db)
    return Gain(rate_hz, tried.gain_db, true_peak_dbtp, result)


def _to_power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _to_lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _to_db(ratio: float) -> float:
    return 20 * math.log10(ratio) if ratio > 0 else -math.inf


def _to_ratio(level_db: float) -> float:
    return float(10 ** (level_db / 20))
