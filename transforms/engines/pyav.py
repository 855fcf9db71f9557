"""PyAV (FFmpeg's libraries), which every audio input and output goes through already: here it is all that happens."""

from __future__ import annotations

from collections.abc import Sequence

from transforms import convert
from transforms.engine import Engine
from transforms.records import Outcome, Piece, Result


class PyAV(Engine):
    """Passes audio on as it was decoded, at its own rate and channels."""

    name = "pyav"
    operation = "convert"
    Options = convert.Options
    requires = ("av",)
    channels = 0
    cost_s = 0.02

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [Result(outputs={"audio": piece.inputs["audio"]}) for piece in pieces]
