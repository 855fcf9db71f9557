"""Music with known answers: chord progressions with bass, melody and drums, in any key, tempo and meter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

RATE_HZ = 22050
DEGREES = {"Major": (0, 2, 4, 5, 7, 9, 11), "Minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {  # degrees of the scale from 0, a bar each; those of minor keys may raise the leading note in V
    "Major": ((0, 4, 5, 3), (0, 3, 4, 0), (0, 5, 3, 4), (1, 4, 0, 0), (5, 3, 0, 4)),
    "Minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 5, 3, 4), (0, 6, 5, 4), (0, 3, 6, 2)),
}
BEATS = {"4/4": 4, "3/4": 3, "6/8": 2}
TIMBRES = ("organ", "piano", "strings", "saw", "pluck")
DRUMS = ("rock", "four", "sparse", "none")


@dataclass(frozen=True, slots=True)
class Song:
    """What is to be heard. `tonic` counts semitones from C; in 6/8 a beat is a dotted quarter note."""

    tonic: int
    scale: str
    bpm: float
    meter: str = "4/4"
    timbre: str = "organ"
    drums: str = "rock"
    noise_db: float | None = None
    """Level of white noise below the music."""
    cents: float = 0.0
    """How far the instruments are tuned above 440 Hz."""
    seed: int = 0


def songs(count: int, meters: tuple[str, ...] = ("4/4", "3/4"), seed: int = 0) -> Iterator[Song]:
    """Songs whose keys go round all 24 and whose other properties are drawn independently."""
    draw = np.random.default_rng(seed)
    keys = list(product(DEGREES, range(12)))
    for index in range(count):
        scale, tonic = keys[index % 24]
        yield Song(
            tonic,
            scale,
            round(float(draw.uniform(60, 180)), 2),
            str(draw.choice(meters)),
            str(draw.choice(TIMBRES)),
            str(draw.choice(DRUMS)),
            [None, 20.0, 10.0][int(draw.integers(3))],
            float(draw.uniform(-40, 40)),
            int(draw.integers(1 << 30)),
        )


def render(song: Song, seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Samples of shape (frames,), float32, peak .7."""
    draw = np.random.default_rng(song.seed)
    out = np.zeros(int(seconds * rate_hz) + 2 * rate_hz)
    beat_s, beats = 60 / song.bpm, BEATS[song.meter]

    def put(at_s: float, sound: np.ndarray, level: float) -> None:
        start = max(0, round((at_s + draw.normal(0, 0.004)) * rate_hz))
        sound = sound[: max(0, len(out) - start)]
        out[start : start + len(sound)] += sound * level * draw.uniform(0.85, 1.15)

    bars = _bars(song, draw)
    for bar in range(int(seconds / (beats * beat_s)) + 1):
        chord = _chord(song, bars[bar % len(bars)])
        for beat in range(beats):
            at_s = (bar * beats + beat) * beat_s
            _play_beat(song, chord, bar, beat, at_s, beat_s, draw, put, rate_hz)
    out = out[: int(seconds * rate_hz)]
    if song.noise_db is not None:
        out += draw.standard_normal(len(out)) * out.std() * 10 ** (-song.noise_db / 20)
    return np.asarray(0.7 * out / np.abs(out).max(), np.float32)


def progression(song: Song) -> tuple[int, ...]:
    """The chords of a song, a bar each, as degrees of its scale from 0."""
    return _bars(song, np.random.default_rng(song.seed))


def _bars(song: Song, draw: np.random.Generator) -> tuple[int, ...]:
    return PROGRESSIONS[song.scale][draw.integers(len(PROGRESSIONS[song.scale]))]


def _chord(song: Song, degree: int) -> list[int]:
    scale = DEGREES[song.scale]
    notes = [scale[(degree + step) % 7] for step in (0, 2, 4)]
    if song.scale == "Minor" and degree == 4:
        notes[1] = 11  # the dominant of a minor key is major, as in most music
    return [(song.tonic + note) % 12 for note in notes]


def _play_beat(
    song: Song,
    chord: list[int],
    bar: int,
    beat: int,
    at_s: float,
    beat_s: float,
    draw: np.random.Generator,
    put: Callable[[float, np.ndarray, float], None],
    rate_hz: int,
) -> None:
    parts = 3 if song.meter == "6/8" else 2
    if beat == 0:
        put(at_s, _tone(36 + chord[0], 0.9 * beat_s, "saw", song.cents, rate_hz), 0.5)
    elif song.meter == "4/4" and beat == 2:
        put(at_s, _tone(36 + chord[draw.choice([0, 2])], 0.9 * beat_s, "saw", song.cents, rate_hz), 0.35)
    sustained = song.timbre in ("organ", "strings") and song.drums != "none"
    if beat == 0 or not sustained:
        for note in chord:
            length_s = (BEATS[song.meter] if sustained else 0.95) * beat_s
            put(at_s, _tone(60 + note, length_s, song.timbre, song.cents, rate_hz), 0.3 if beat == 0 else 0.18)
    for part in range(parts):
        if draw.random() < (0.7 if part == 0 else 0.35):
            scale = [(song.tonic + note) % 12 for note in DEGREES[song.scale]]
            note = draw.choice(chord) if part == 0 or draw.random() < 0.5 else draw.choice(scale)
            put(at_s + part * beat_s / parts, _tone(72 + int(note), beat_s / parts, song.timbre, song.cents, rate_hz), 0.25)
    for part in range(parts):
        for sound, level in _drums(song, beat, part):
            put(at_s + part * beat_s / parts, _hit(sound, draw, rate_hz), level)


def _drums(song: Song, beat: int, part: int) -> Iterator[tuple[str, float]]:
    if song.drums == "none":
        return
    backbeat = {"4/4": beat % 2 == 1, "3/4": beat > 0, "6/8": beat == 1}[song.meter]
    if part == 0:
        strong = beat == 0 or (song.meter == "4/4" and beat == 2 and song.drums != "sparse")
        if strong or song.drums == "four":
            yield "kick", 0.9 if beat == 0 else 0.7
        if backbeat and song.drums != "sparse":
            yield "snare", 0.5
    if song.drums != "sparse" or part == 0:
        yield "hat", 0.2 if part == 0 else 0.14


def _tone(midi: int, length_s: float, timbre: str, cents: float, rate_hz: int) -> np.ndarray:
    hz = 440 * 2 ** ((midi - 69 + cents / 100) / 12)
    t = np.arange(int((length_s + 0.05) * rate_hz)) / rate_hz
    harmonics, decay_s = {
        "organ": ({1: 1, 2: 0.6, 3: 0.4, 4: 0.3, 6: 0.15}, 0.0),
        "piano": ({n: 1 / n**1.5 for n in range(1, 10)}, 0.5),
        "strings": ({n: 1 / n for n in range(1, 9)}, 0.0),
        "saw": ({n: 1 / n for n in range(1, 12)}, 0.0),
        "pluck": ({n: 1 / n for n in range(1, 8)}, 0.15),
    }[timbre]
    phase = 2 * np.pi * hz * t
    if timbre == "strings":
        phase = phase + 0.0025 * hz / 5 * np.sin(2 * np.pi * 5 * t)
    made = np.zeros(len(t))
    for n, level in harmonics.items():
        if n * hz < rate_hz / 2.2:
            made += level * np.sin(n * phase) * (np.exp(-t * n**0.5 / decay_s) if decay_s else 1.0)
    attack_s = 0.04 if timbre == "strings" else 0.005
    return np.asarray(made * np.minimum(1, t / attack_s) * np.clip((length_s + 0.05 - t) / 0.05, 0, 1))


def _hit(sound: str, draw: np.random.Generator, rate_hz: int) -> np.ndarray:
    t = np.arange(int(0.25 * rate_hz)) / rate_hz
    noise = draw.standard_normal(len(t))
    if sound == "kick":
        return np.asarray(np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-t / 0.03)))) * np.exp(-t / 0.08))
    if sound == "snare":
        return np.asarray((0.5 * noise + 0.5 * np.sin(2 * np.pi * 190 * t)) * np.exp(-t / 0.06))
    return np.asarray(np.diff(noise, prepend=0) * np.exp(-t / 0.02))
