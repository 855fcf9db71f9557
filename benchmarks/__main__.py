"""`make bench`: every measurement, and `docs/performance.md` written from them. `python -m benchmarks NAME` runs one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

from benchmarks import engines, long_file, overhead
from benchmarks.measure import ROOT, machine

PARTS: dict[str, tuple[str, Callable[[], str], str]] = {
    "overhead": ("What the pipeline costs", overhead.report, "The echo engine writes a WAV of .1 s an item; the figure is the whole command, start to published manifest."),
    "kokoro": ("Kokoro through the pipeline", partial(engines.report, "kokoro"), engines.__doc__ or ""),
    "faster-whisper": ("faster-whisper through the pipeline", partial(engines.report, "faster-whisper"), "The same for clips of about six seconds."),
    "long_file": ("A three-hour file", long_file.report, "tiny.en, `wavemill run transcribe`; resident memory of the whole process tree."),
}  # fmt: skip
TARGET = ROOT / "docs/performance.md"
HEAD = "# Performance\n\nWritten by `make bench` (one part: `python -m benchmarks NAME`). Figures are `median (least-most)`.\n"


def main(names: list[str]) -> None:
    old = TARGET.read_text() if TARGET.exists() else HEAD
    sections = {part.split("\n", 1)[0]: "## " + part for part in old.split("\n## ")[1:]}
    for name in names or PARTS:
        title, report, about = PARTS[name]
        sections[title] = f"## {title}\n\n{about.strip()}\n\n{machine()}; `python -m benchmarks {name}`.\n\n{report()}"
        TARGET.write_text(HEAD + "".join("\n" + sections[t].rstrip() + "\n" for t, _, _ in PARTS.values() if t in sections))


if __name__ == "__main__":
    main(sys.argv[1:])
