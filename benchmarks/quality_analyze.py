"""Key, tempo and meter of generated music with known answers, of songs that nothing was fitted on.

`i VI III VII` in minor has the very chords of `vi IV I V` in the relative major, so that sums of pitch classes cannot tell
the two apart: such songs are told as major.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from benchmarks.measure import table, verdict
from benchmarks.music import RATE_HZ, Song, progression, render, songs
from transforms import analyze
from transforms.engine import Engine, Place
from transforms.engines.librosa import Librosa
from transforms.keys import NAMES
from transforms.records import Audio, Input, Item, Piece, Result

SONGS = 192
SECONDS = 30.0
SEED = 77_777
TARGETS = (("the key", 0.8), ("BPM within 1 %", 0.9))
ITEM = Item("0" * 64, "song", "analyze", "librosa", Librosa.Options(), {"audio": Input("uri", "song.wav")})


@cache
def loaded() -> Engine:
    engine = Librosa()
    engine.load(Place())
    return engine


def describe(song: Song, seconds: float = SECONDS) -> Mapping[str, Any]:
    """What the engine tells of a song."""
    piece = Piece({"audio": Audio(render(song, seconds)[None], RATE_HZ)}, ITEM.options, 0)
    (outcome,) = loaded().run([piece])
    assert isinstance(outcome, Result)
    return outcome.fields


def judged(song: Song, seconds: float = SECONDS) -> dict[str, Any]:
    """The fields of the result, and `key_right`, `bpm_right` (within 1 %), `bpm_octave` (or half, double, ...) and `meter_right`."""
    found = dict(analyze.join(ITEM, (), [Result(describe(song, seconds))], loaded()).fields)
    ratio = found["bpm"] / song.bpm
    return found | {
        "key_right": (found["key"], found["scale"]) == (NAMES[song.scale][song.tonic], song.scale),
        "bpm_right": abs(ratio - 1) <= 0.01,
        "bpm_octave": any(abs(ratio / level - 1) <= 0.01 for level in (1, 2, 3, 1 / 2, 1 / 3)),
        "meter_right": found["time_signature"] == song.meter,
    }


def report(count: int = SONGS, seconds: float = SECONDS) -> str:
    """A markdown table: how many songs of each kind are right."""
    rows = [(song, judged(song, seconds)) for song in songs(count, seed=SEED)]
    kinds: list[tuple[str, Callable[[Song], bool]]] = [("all", lambda song: True)]
    kinds += [(f"{scale} keys", lambda song, scale=scale: song.scale == scale) for scale in NAMES]  # type: ignore[misc]
    kinds += [("minor, i VI III VII", lambda song: song.scale == "Minor" and progression(song) == (0, 5, 2, 6))]
    kinds += [(meter, lambda song, meter=meter: song.meter == meter) for meter in ("4/4", "3/4")]  # type: ignore[misc]
    kinds += [(f"{low} to {low + 40} BPM", lambda song, low=low: low <= song.bpm < low + 40) for low in (60, 100, 140)]  # type: ignore[misc]
    kinds += [(f"drums: {name}", lambda song, name=name: song.drums == name) for name in ("rock", "four", "sparse", "none")]  # type: ignore[misc]
    kinds += [("noise at 10 dB", lambda song: song.noise_db == 10.0)]
    lines, told = [], ""
    for name, holds in kinds:
        found = [result for song, result in rows if holds(song)]
        shares = [
            sum(result[right] for result in found) / max(1, len(found)) for right in ("key_right", "bpm_right", "bpm_octave", "meter_right")
        ]
        if name == "all":
            told = " ".join(
                verdict(f"{what} right for at least {least:.0%}", share >= least)
                for (what, least), share in zip(TARGETS, shares, strict=False)
            )
        lines.append([name, str(len(found)), *(f"{share:.1%}" for share in shares)])
    head = ["songs", "number", "key", "BPM within 1 %", "or at another octave", "meter"]
    return f"{table(head, lines)}\n\n{told}\n"


if __name__ == "__main__":
    print(report(int(sys.argv[1]) if len(sys.argv) > 1 else SONGS))
