"""Every format to every other: does it decode, how far is it off in length, and how far in loudness.

Ten seconds of generated music in stereo at 44.1 kHz, in each format, through `convert` with its defaults; a cell compares the
output with its input, both decoded: milliseconds / LU. Rows are what is given, columns what is made. LAME makes MP3 of less
than 256 kbit/s about .4 dB quieter at all frequencies; AAC without a container has no place to say what is padding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from benchmarks.measure import table
from benchmarks.music import Song, render
from benchmarks.speech import done, opened, saved
from transforms import loudness
from transforms.options import AudioFormat
from transforms.records import Audio

FORMATS: tuple[str, ...] = get_args(AudioFormat)
RATE_HZ = 44100
SONG = Song(tonic=2, scale="Major", bpm=96.0, timbre="piano", seed=5)


def report(formats: Sequence[str] = FORMATS, seconds: float = 10.0) -> str:
    mono = render(SONG, seconds, RATE_HZ)
    rows, worst_ms, worst_lu = [], 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as name:
        folder = Path(name)
        original = saved(Audio(np.stack([mono, np.roll(mono, RATE_HZ // 100)]), RATE_HZ), folder / "original.wav")
        for given in formats:
            source = made(original, given, folder / f"source.{given}")
            cells, before = [given], opened(source)
            for wanted in formats:
                after = opened(made(source, wanted, folder / f"made.{wanted}"))
                off_ms = 1000 * (after.duration_s - before.duration_s)
                off_lu = loudness.measure(after).lufs - loudness.measure(before).lufs
                worst_ms, worst_lu = max(worst_ms, abs(off_ms)), max(worst_lu, abs(off_lu))
                cells.append(f"{off_ms:.1f} / {off_lu:.2f}")
            rows.append(cells)
    matrix = table(["ms / LU", *formats], rows).replace("-0.0 ", "0.0 ").replace("/ -0.00", "/ 0.00")
    return f"{matrix}\n\nAll {len(formats) ** 2} decode; at most {worst_ms:.1f} ms and {worst_lu:.2f} LU off.\n"


def made(source: Path, form: str, target: Path) -> Path:
    """The file in another format."""
    (result,) = done("convert", [source], format=form)
    target.write_bytes(result.outputs["audio"].data)
    return target


if __name__ == "__main__":
    print(report())
