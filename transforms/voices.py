"""Stock voices, and the names that options give them: `af_bella`, or a weighted mix as `af_bella:0.6+af_sky:0.4`."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from transforms.errors import WavemillError, near
from transforms.models import KOKORO_PACKS, MODELS, folder
from transforms.phonemes import LANGUAGES

if TYPE_CHECKING:
    import numpy as np

PACK_SHAPE = (510, 1, 256)
"""A pack of Kokoro: a style for each length in tokens."""

Mix = tuple[tuple[str, float], ...]
"""Voice ids and their weights, which add up to 1, in the order of the ids."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A stock voice. `sha256` is that of its pack, or of its model; empty where nobody here has seen the bytes."""

    id: str
    engine: str
    language: str
    gender: str
    name: str
    sha256: str


@cache
def stock(engine: str) -> dict[str, Voice]:
    """The stock voices of an engine, by id."""
    if engine in ("kokoro", "kokoro-torch"):
        return {
            id: Voice(id, "kokoro", LANGUAGES[id[0]], {"f": "female", "m": "male"}[id[1]], id[3:].capitalize(), digest)
            for id, digest in KOKORO_PACKS.items()
        }
    found = {}
    for model in MODELS.values():
        if model.engine == engine == "piper":
            id = model.id.removeprefix("piper-")
            locale, name, _ = id.split("-")
            language = locale.replace("_", "-").lower()
            found[id] = Voice(id, engine, language, "", name.capitalize(), model.files[0].sha256 or "")
    return found


def resolve(engine: str, name: str) -> Mix:
    """The voices that a name stands for. Weights are 1 where none is written, and are made to add up to 1.

    Raises `unknown_voice` with the near ones, and `bad_option` for a weight that is not a number above 0.
    """
    known = stock(engine)
    weights: dict[str, float] = {}
    for part in name.split("+"):
        id, colon, written = (word.strip() for word in part.partition(":"))
        if id not in known:
            raise WavemillError("unknown_voice", f"{engine} has no voice {id!r}{near(id, known)}; see `wavemill voices`", "voice")
        try:
            weight = float(written) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise WavemillError("bad_option", f"voice: {written!r} is no weight for {id}; write {id}:0.5", "voice")
        weights[id] = weights.get(id, 0.0) + weight
    total = sum(weights.values())
    return tuple((id, weights[id] / total) for id in sorted(weights))


def pack_digest(engine: str, mix: Mix) -> str:
    """What identifies the sound of a mix: the digest of each pack and its weight. 32 hex digits."""
    known = stock(engine)
    lines = "".join(f"{known[id].sha256 or id} {weight!r}\n" for id, weight in mix)
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def read_pack(mix: Mix, models_dir: Path) -> np.ndarray:
    """The weighted styles of a mix of Kokoro's voices, float32 of shape (510, 1, 256). Raises `model_missing`."""
    import numpy as np

    packs = folder("kokoro-voices", models_dir)
    mixed = np.zeros(PACK_SHAPE, np.float32)
    for id, weight in mix:
        mixed += np.float32(weight) * np.fromfile(packs / f"{id}.bin", "<f4").reshape(PACK_SHAPE)
    return mixed
