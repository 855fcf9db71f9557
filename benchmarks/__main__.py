"""`make bench`: every measurement, and `docs/performance.md` written from them. `python -m benchmarks NAME` runs one."""

from __future__ import annotations

import sys
from functools import partial

from benchmarks import engines, long_file, overhead
from benchmarks.measure import ROOT
from benchmarks.sections import Section, write

SECTIONS = {
    "overhead": Section("What the pipeline costs", overhead.report, "The echo engine writes a WAV of .1 s an item; the figure is the whole command, start to published manifest."),
    "kokoro": Section("Kokoro through the pipeline", partial(engines.report, "kokoro"), engines.__doc__ or ""),
    "faster-whisper": Section("faster-whisper through the pipeline", partial(engines.report, "faster-whisper"), "The same for clips of about six seconds."),
    "long_file": Section("A three-hour file", long_file.report, "tiny.en, `wavemill run transcribe`; resident memory of the whole process tree."),
}  # fmt: skip
HEAD = "# Performance\n\nWritten by `make bench` (one part: `python -m benchmarks NAME`). Figures are `median (least-most)`.\n"

if __name__ == "__main__":
    write(ROOT / "docs/performance.md", HEAD, SECTIONS, sys.argv[1:], "python -m benchmarks")
