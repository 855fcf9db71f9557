"""Key, tempo and meter of music: pieces give what adds up, and the sum decides, so that hours need no more memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transforms.chunks import split
from transforms.engine import Engine
from transforms.options import Options as BaseOptions
from transforms.records import Item, Piece, Result

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 4

LEAST_S = 2.0
"""Of less audio than this neither a key nor a beat is told."""


class Options(BaseOptions):
    """Options of every analyze engine."""


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """What the sums over all pieces say, as fields; nothing is made.

    Each piece's fields are `pitches` (12 * `keys.STEPS` numbers), `onsets` (`meter.RANGES` lists of `meter.LAGS` numbers), `frames` and
    `duration_s`. Confidences are 0..1. Of silence, and of less than `LEAST_S`, key, scale, bpm and time signature are None and
    their confidences 0.
    """
    from transforms.keys import find_key
    from transforms.meter import find_meter

    duration_s = sum(result.fields["duration_s"] for result in results)
    enough = duration_s >= LEAST_S
    key, key_confidence = find_key(_summed(results, "pitches")) if enough else (None, 0.0)
    meter = find_meter(_summed(results, "onsets"), [result.fields["frames"] for result in results]) if enough else None
    return Result(
        {
            "key": key and key.name,
            "scale": key and key.scale,
            "bpm": meter and meter.bpm,
            "time_signature": meter and meter.signature,
            "camelot": key and key.camelot,
            "compatible_keys": [str(other) for other in key.compatible] if key else [],
            "key_confidence": key_confidence,
            "bpm_confidence": meter.clarity if meter else 0.0,
            "time_signature_confidence": meter.signature_confidence if meter else 0.0,
            "duration_s": round(duration_s, 3),
        }
    )


def _summed(results: Sequence[Result], name: str) -> Any:
    import numpy as np

    return np.sum([result.fields[name] for result in results], axis=0)
