"""Time and memory of each operation over a minute, an hour and three hours in one file, by `wavemill run` with its defaults where nothing else is said.

`time factor` is the wall time of the whole command, start and publishing included, over the audio's length, which for
synthesize and clone is that of the speech made; `CPU s / s` is the time of all processors in its place, which grows less than wall time
when other work runs beside it; `peak` is the most resident memory of the whole process tree. Rows are added as they are measured, and the
line below is of the last. A minute and an hour are of 2026-11-24 and an AMD EPYC, but of clone an hour, translate-text and complete. Those and
three hours are of 2026-11-27 and an Intel Xeon, where the same work took up to twice the processor time; nearly all of three hours, and complete,
had other work beside them, so their wall times say little. Speech is the demo story by Piper, music is generated; hours are the minute's material repeated.

Over hours Piper stands for Kokoro where a voice speaks, but in clone. A voice is embedded, and a turn of a chat heard, up to
ten minutes: those have no hour. chat's minute is one question of that length, and its answer. Of translate-text and complete,
which have no audio, a minute and an hour are as much of the story as takes about so long to say, 7 and 428 paragraphs: each
is translated, or answered as a message of its own, in up to 256 tokens. clone speaks in a mix of stock voices (no torch).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks import music
from benchmarks.measure import ROOT, WAVEMILL, run, table
from benchmarks.speech import speak
from transforms import codec
from transforms.operations import operation
from transforms.options import AudioOptions

MOST_S = 7200.0
"""A row that takes longer is left out."""
STORY_S = 185.0
"""About what one telling of the story takes."""
HEAD = ("operation", "over", "audio, s", "wall, s", "time factor", "CPU s / s", "peak, MB")


class Case(NamedTuple):
    """An operation by a certain engine, over speech, music or text (`told`: that is spoken in a recording's voice)."""

    operation: str
    given: str
    options: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return " ".join((self.operation, *self.options))


MINUTE = (
    Case("convert", "speech"),
    Case("analyze", "music"),
    Case("enhance", "speech"),
    Case("enhance", "speech", ("-e", "gtcrn")),
    Case("dereverb", "speech"),
    Case("separate", "music"),
    Case("transcribe", "speech", ("--model", "tiny.en")),
    Case("transcribe", "speech"),
    Case("transcribe", "speech", ("--diarize",)),
    Case("synthesize", "text", ("-e", "piper")),
    Case("synthesize", "text"),
    Case("embed", "speech"),
    Case("convert-voice", "speech", ("--voice", "af_bella")),
    Case("translate", "speech"),
    Case("restyle", "speech", ("--emotion", "happy")),
    Case("clone", "told"),
    Case("chat", "speech"),
    Case("translate-text", "text", ("--to", "es")),
    Case("complete", "text"),
)
BY_PIPER = ("-O", "tts.engine=piper", "-O", "stt.model=tiny.en")
SPOKEN = ("chat", "clone", "convert-voice", "embed", "restyle", "translate")
HOUR = (
    *(case for case in MINUTE if case.operation not in SPOKEN and case.title != "synthesize"),
    Case("convert-voice", "speech", ("--voice", "en_US-joe-medium", *BY_PIPER)),
    Case("restyle", "speech", ("--voice", "en_US-joe-medium", *BY_PIPER)),
    Case("translate", "speech", ("--voice", "en_US-joe-medium", *BY_PIPER[:2])),
    Case("clone", "told"),
)
THREE_HOURS = tuple(case for case in HOUR if case.given in ("speech", "music"))
CASES = [
    *(("a minute", case, 60.0) for case in MINUTE),
    *(("an hour", case, 3600.0) for case in HOUR),
    *(("three hours", case, 10800.0) for case in THREE_HOURS),
]


def grow(old: str) -> Iterator[str]:
    """The table, again after every row that `old` did not have. What takes too long is named below it."""
    kept = {tuple(cells[:2]): cells for cells in (line.strip("| ").split(" | ") for line in old.splitlines() if line.startswith("| "))}
    slow: list[str] = []
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as name:
        for over, case, seconds in CASES:
            if (case.title, over) in kept:
                continue
            try:
                cells = measured(case, seconds, Path(name))
            except subprocess.TimeoutExpired:
                slow.append(f"`{case.title}` over {over}")
            else:
                kept[case.title, over] = [case.title, over, *cells]
            yield _written(kept, slow)
    if not slow:
        yield _written(kept, slow)


def _written(kept: dict[tuple[str, ...], list[str]], slow: list[str]) -> str:
    rows = [kept[case.title, over] for over, case, _ in CASES if (case.title, over) in kept]
    left = f"\n\nLeft out, for they took over {MOST_S / 60:.0f} minutes: {', '.join(slow)}." if slow else ""
    return table(HEAD, rows) + left + "\n"


def measured(case: Case, seconds: float, folder: Path) -> list[str]:
    """Seconds of audio, seconds of wall time, these and the processors' over the audio's, and megabytes."""
    source = material(case.given, seconds, folder)
    out = folder / f"{case.operation}-{len(list(folder.iterdir()))}"
    command = [*WAVEMILL, "run", case.operation, str(source), "-o", str(out), *case.options, "--quiet"]
    found = run(command, most_s=MOST_S)
    audio_s = seconds
    if case.given in ("text", "told") and operation(case.operation).output == "audio":
        audio_s = sum(pq.read_table(out / "manifest.parquet").column("duration_s").to_pylist())
    return [
        f"{audio_s:.0f}",
        f"{found.wall_s:.1f}",
        f"{found.wall_s / audio_s:.4f}",
        f"{found.cpu_s / audio_s:.4f}",
        f"{found.peak_mb:.0f}",
    ]


def material(given: str, seconds: float, folder: Path) -> Path:
    """A manifest of texts, or one file of exactly that length; made once."""
    path = folder / f"{given}-{seconds:.0f}.{'jsonl' if given in ('text', 'told') else 'mp3'}"
    if path.exists():
        return path
    if given in ("text", "told"):
        voice = {"reference": str(material("speech", 60.0, folder))} if given == "told" else {}
        path.write_text("".join(json.dumps({"text": text, **voice}) + "\n" for text in _texts(seconds)))
        return path
    if given == "music":
        block, rate_hz = music.render(music.Song(tonic=9, scale="Minor", bpm=104.0, seed=1), 60.0, 44100)[None], 44100
    else:
        (audio,) = speak([" ".join(_texts(90.0))], "piper")
        block, rate_hz = np.asarray(audio.samples[:, : 60 * audio.rate_hz]), audio.rate_hz
        assert block.shape[1] == 60 * rate_hz
    codec.encode_to(path, (block for _ in range(round(seconds / 60))), rate_hz, 1, AudioOptions(format="mp3"))
    return path


def _texts(seconds: float) -> list[str]:
    """Paragraphs of the demo story, no two alike, that take about so long to say."""
    story = [json.loads(line)["text"] for line in (ROOT / "examples/story.jsonl").read_text().splitlines()]
    count = round(seconds / STORY_S * len(story))
    return [f"Telling {n // len(story) + 1}. {story[n % len(story)]}" for n in range(count)]


if __name__ == "__main__":
    for text in grow(""):
        print(text)
