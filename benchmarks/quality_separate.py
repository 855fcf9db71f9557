"""How well the default engine takes voice and accompaniment apart, on mixes whose parts are known.

A voice (Piper's) over an accompaniment made here: bass and kick in the centre, chords and arpeggio to the sides, a
snare and hats of new noise at every stroke, no two bars alike in level. Both parts are equally loud. The method's constants
were chosen on the mix of the usual beat; that of the other beat is held out.
"""

from __future__ import annotations

import time
from functools import cache
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import table

RATE_HZ = 44100
BEAT_S, OTHER_BEAT_S = 0.5, 0.41
TEXT = (
    "The harbour was quiet when the first boats came home.",
    "Somebody had left a lamp in the window of the old house.",
    "We counted every step between the river and the hill.",
    "In the morning nobody remembered who had sung so late.",
    "She folded the letter twice and put it under the stone.",
    "All the way back they talked of rain and of the sea.",
    "There was bread on the table, and the door stood open.",
)
CHORDS = ((220.0, 261.63, 329.63), (174.61, 220.0, 261.63), (130.81, 164.81, 196.0), (196.0, 246.94, 293.66))


class Mix(NamedTuple):
    """float32 of shape (channels, frames) each; `mix` is the sum of the other two."""

    mix: np.ndarray[Any, np.dtype[Any]]
    vocals: np.ndarray[Any, np.dtype[Any]]
    instrumental: np.ndarray[Any, np.dtype[Any]]


def make(channels: int, seconds: float = 30.0, beat_s: float = BEAT_S, seed: int = 7) -> Mix:
    """A mix of one or two channels with its parts; the same seed gives the same."""
    voice = np.resize(spoken(), round(seconds * RATE_HZ))[None].repeat(channels, axis=0)
    music = accompaniment(len(voice[0]), beat_s, seed)
    if channels == 1:
        music = music.mean(axis=0, keepdims=True)
    music *= np.sqrt((voice**2).mean() / (music**2).mean())
    scale = 0.9 / np.abs(voice + music).max()
    voice, music = (voice * scale).astype(np.float32), (music * scale).astype(np.float32)
    return Mix(voice + music, voice, music)


@cache
def spoken() -> np.ndarray[Any, np.dtype[Any]]:
    """The text in one voice, mono, with half a second after each sentence."""
    import soxr

    from transforms.engine import Place, engine_class
    from transforms.pull import pull_all
    from transforms.records import Piece, Result
    from transforms.settings import Settings

    settings, engine = Settings(), engine_class("synthesize", "piper")()
    options = engine.Options()
    pull_all(engine.models(options), settings)
    engine.load(Place("cpu", 1, settings.models_dir))
    heard = []
    for outcome in engine.run([Piece({"text": text}, options, seed) for seed, text in enumerate(TEXT)]):
        assert isinstance(outcome, Result), outcome
        heard += [soxr.resample(outcome.outputs["audio"].samples[0], engine.rate_hz, RATE_HZ), np.zeros(RATE_HZ // 2)]
    engine.close()
    return np.concatenate(heard)


def accompaniment(frames: int, beat_s: float = BEAT_S, seed: int = 7) -> np.ndarray[Any, np.dtype[Any]]:
    """Four chords of two beats each, over and over, in stereo."""
    draw = np.random.default_rng(seed)
    out = np.zeros((2, frames + 2 * RATE_HZ))

    def add(at_s: float, sound: np.ndarray[Any, np.dtype[Any]], left: float, right: float) -> None:
        start, played = round(at_s * RATE_HZ), sound * draw.uniform(0.8, 1.0)
        out[:, start : start + len(sound)] += np.outer((left, right), played)

    for beat in range(int(frames / RATE_HZ / beat_s) + 1):
        at_s, chord = beat * beat_s, CHORDS[beat // 2 % len(CHORDS)]
        add(at_s, tone(chord[0] / 2, 0.5, 6.0), 0.8, 0.8)
        add(at_s, tone(55.0, 0.15, 25.0), 1.0, 1.0)
        for note in chord:
            add(at_s, tone(note, 0.5, 4.0) * 0.4, 0.9, 0.25)
        for half in (0, 1):
            add(at_s + half * beat_s / 2, tone(2 * chord[(2 * beat + half) % 3], 0.25, 10.0) * 0.5, 0.2, 0.8)
            add(at_s + half * beat_s / 2, noise(draw, 0.05, 90.0) * 0.15, 0.3, 0.6)
        if beat % 2:
            add(at_s, noise(draw, 0.2, 25.0) * 0.4, 0.6, 0.5)
    return out[:, :frames]


def tone(hz: float, seconds: float, decay: float) -> np.ndarray[Any, np.dtype[Any]]:
    """A plucked note of eight partials."""
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    partials = sum(np.sin(2 * np.pi * hz * n * at_s) / n**1.5 for n in range(1, 9))
    return np.asarray(partials * np.exp(-decay * at_s) * np.minimum(1, at_s / 0.005))


def noise(draw: np.random.Generator, seconds: float, decay: float) -> np.ndarray[Any, np.dtype[Any]]:
    at_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(draw.standard_normal(len(at_s)) * np.exp(-decay * at_s))


def sdr(wanted: np.ndarray[Any, np.dtype[Any]], made: np.ndarray[Any, np.dtype[Any]]) -> float:
    """Signal-to-distortion ratio in dB, as of the Music Demixing Challenge: the energy wanted over that of the error."""
    return float(10 * np.log10((wanted**2).sum() / ((wanted - made) ** 2).sum()))


def si_sdr(wanted: np.ndarray[Any, np.dtype[Any]], made: np.ndarray[Any, np.dtype[Any]]) -> float:
    """The same with the wanted scaled to fit best, so that a quieter output alone gains nothing (Le Roux et al., 2019)."""
    return sdr(wanted * ((wanted * made).sum() / (wanted**2).sum()), made)


def report() -> str:
    """A table in markdown."""
    from transforms.engine import Place, engine_class
    from transforms.records import Audio, Piece, Result

    engine = engine_class("separate", "classical")()
    engine.load(Place())
    rows = []
    for (channels, name), beat_s in product(((2, "stereo"), (1, "mono")), (BEAT_S, OTHER_BEAT_S)):
        parts = make(channels, beat_s=beat_s)
        began = time.perf_counter()
        (outcome,) = engine.run([Piece({"audio": Audio(parts.mix, RATE_HZ)}, engine.Options(), 0)])
        factor = (time.perf_counter() - began) * RATE_HZ / parts.mix.shape[1]
        assert isinstance(outcome, Result), outcome
        for stem, wanted in (("vocals", parts.vocals), ("instrumental", parts.instrumental)):
            made = outcome.outputs[stem].samples
            found = [measure(wanted, one) for measure in (sdr, si_sdr) for one in (parts.mix, made)]
            rows.append(
                [f"{name}, {60 / beat_s:.0f} bpm", outcome.fields["method"], stem, *(f"{value:.2f}" for value in found), f"{factor:.3f}"]
            )
    engine.close()
    head = ["mix", "method", "stem", "SDR of the mix, dB", "SDR of the stem, dB", "SI-SDR of the mix, dB", "SI-SDR of the stem, dB"]
    return table([*head, "compute s per audio s"], rows) + "\n"


if __name__ == "__main__":
    print(report())
