"""Voices from their accompaniment without a model: what repeats is accompaniment, what stands in the centre and does not is voice.

REPET-SIM (Rafii and Pardo, "Music/Voice Separation using the Similarity Matrix", ISMIR 2012); for stereo together with the
extraction of the centre (Avendano, "Frequency-Domain Source Identification and Manipulation in Stereo Mixes", WASPAA 2003).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms import separate
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.records import Audio, Item, Outcome, Piece, Result


class Classical(Engine):
    """Two stems, `vocals` and `instrumental`, whose sum is the mix. Mono and stereo, and by its repetition alone any more channels."""

    name = "classical"
    operation = "separate"
    Options = separate.Options
    requires = ("scipy", "threadpoolctl")
    rate_hz = 44100
    channels = 0
    max_s = 60.0
    overlap_s = 2.0
    cost_s = 0.1

    def check(self, item: Item) -> None:
        stems = getattr(item.options, "stems", 2)
        if stems != 2:
            detail = f"stems: the engine classical makes 2, not {stems}; the engine demucs makes 4 and 6"
            raise WavemillError("bad_option", detail, "stems")

    def load(self, place: Place) -> None:
        from threadpoolctl import threadpool_limits

        import transforms.engines.repet  # noqa: F401  a broken installation shows here, before any work

        self._limits: Any = threadpool_limits(1, "blas")  # its products differ in the last bit with the number of threads

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [_separated(piece.inputs["audio"]) for piece in pieces]

    def close(self) -> None:
        self._limits.restore_original_limits()


def _separated(audio: str | Audio) -> Result:
    from transforms.engines import repet

    assert isinstance(audio, Audio)
    vocals = repet.vocals(audio.samples, audio.rate_hz)
    stems = {"vocals": Audio(vocals, audio.rate_hz), "instrumental": Audio(audio.samples - vocals, audio.rate_hz)}
    return Result({"method": "repet-sim+centre" if audio.channels == 2 else "repet-sim"}, stems)
