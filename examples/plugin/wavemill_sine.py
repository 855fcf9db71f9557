"""A sine for every text, as long as the text: the least that an engine can be."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from transforms import synthesize
from transforms.engine import Engine
from transforms.records import Audio, Outcome, Piece, Result

CHARACTER_S = 0.06


class Sine(Engine):
    name = "sine"
    operation = "synthesize"
    rate_hz = 24000
    max_chars = 400
    cost_s = 0.0001

    class Options(synthesize.Options):
        pitch_hz: float = Field(440.0, ge=20, le=10_000, description="pitch of the sine")

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        import numpy as np

        outcomes: list[Outcome] = []
        for piece in pieces:
            frames = round(len(str(piece.inputs["text"])) * CHARACTER_S / piece.options.speed * self.rate_hz)
            tone = 0.3 * np.sin(2 * np.pi * piece.options.pitch_hz / self.rate_hz * np.arange(frames))
            outcomes.append(Result(outputs={"audio": Audio(tone.astype(np.float32)[None], self.rate_hz)}))
        return outcomes
