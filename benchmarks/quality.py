"""`make quality`: what the models do, and `docs/quality.md` written from it. `python -m benchmarks.quality NAME` runs one."""

from __future__ import annotations

import sys

from benchmarks import quality_analyze, quality_dereverb, quality_enhance, quality_separate, quality_voices
from benchmarks.measure import ROOT
from benchmarks.sections import Section, write

SECTIONS = {
    "enhance": Section("Enhance", quality_enhance.report, quality_enhance.__doc__ or ""),
    "dereverb": Section("Dereverb", quality_dereverb.report, quality_dereverb.__doc__ or ""),
    "separate": Section("Separate", quality_separate.report, quality_separate.__doc__ or ""),
    "analyze": Section("Analyze", quality_analyze.report, quality_analyze.__doc__ or ""),
    "voices": Section("Voices of recordings", quality_voices.report, quality_voices.__doc__ or ""),
}
HEAD = (
    "# Quality\n\nWritten by `make quality` (one part: `python -m benchmarks.quality NAME`), on synthetic material whose truth is known.\n"
)

if __name__ == "__main__":
    write(ROOT / "docs/quality.md", HEAD, SECTIONS, sys.argv[1:], "python -m benchmarks.quality")
