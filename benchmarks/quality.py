"""`make quality`: what the models do, and `docs/quality.md` written from it. `python -m benchmarks.quality NAME` runs one.

Without a name only what is not written yet is measured, so that it goes on after a stop.
"""

from __future__ import annotations

import sys
from types import ModuleType

from benchmarks import (
    quality_analyze,
    quality_convert,
    quality_cost,
    quality_dereverb,
    quality_diarize,
    quality_enhance,
    quality_separate,
    quality_synthesize,
    quality_transcribe,
    quality_voices,
)
from benchmarks.measure import ROOT
from benchmarks.sections import Section, write


def _section(title: str, module: ModuleType) -> Section:
    return Section(title, getattr(module, "report", None), module.__doc__ or "", getattr(module, "grow", None))


SECTIONS = {
    "synthesize": _section("Synthesize", quality_synthesize),
    "transcribe": _section("Transcribe", quality_transcribe),
    "diarize": _section("Diarize", quality_diarize),
    "enhance": _section("Enhance", quality_enhance),
    "dereverb": _section("Dereverb", quality_dereverb),
    "separate": _section("Separate", quality_separate),
    "analyze": _section("Analyze", quality_analyze),
    "voices": _section("Voices of recordings", quality_voices),
    "convert": _section("Convert", quality_convert),
    "cost": _section("Cost", quality_cost),
}
HEAD = (
    "# Quality\n\nWritten by `make quality`, which measures what is not here yet (one part anew: `python -m benchmarks.quality NAME`),\n"
    "on synthetic material whose truth is known.\n"
)

if __name__ == "__main__":
    write(ROOT / "docs/quality.md", HEAD, SECTIONS, sys.argv[1:], "python -m benchmarks.quality", keep=True)
