"""WPE, weighted prediction error: what the last few hundred milliseconds predict of a sound is its room, and is taken away."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from transforms import dereverb
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.records import Audio, Outcome, Piece, Result


class WPE(Engine):
    """Nakatani et al. 2010, "Speech dereverberation based on variance-normalized delayed linear prediction".

    In full bandwidth; two channels are predicted jointly, any other number each alone. Statistics are those of the piece.
    """

    name = "wpe"
    operation = "dereverb"
    Options = dereverb.Options
    version = 1
    requires = ("nara_wpe", "scipy")
    rate_hz = 48000
    channels = 0
    max_s = 30.0
    overlap_s = 2.0
    cost_s = 0.1

    _room: ModuleType

    def load(self, place: Place) -> None:
        try:
            self._room = import_module("transforms.room")
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"nara-wpe: {error}") from error

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._dry(piece) for piece in pieces]

    def _dry(self, piece: Piece) -> Outcome:
        audio, options = piece.inputs["audio"], piece.options
        assert isinstance(audio, Audio)
        samples = self._room.dry(audio.samples, audio.rate_hz, options.type, options.intensity)
        return Result(outputs={"audio": Audio(samples, audio.rate_hz)})
