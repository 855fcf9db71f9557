"""Voices, and the names that options give them: `af_bella`, a saved one's id, or a weighted mix as `af_bella:0.6+af_sky:0.4`."""

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
from transforms.voice_library import PACK_SHAPE, is_saved, library

if TYPE_CHECKING:
    import numpy as np

Mix = tuple[tuple[str, float], ...]
"""Ids of stock and fitted voices and their weights, which add up to 1, in the order of the ids."""

KOKORO = ("kokoro", "kokoro-torch")
"""Engines that speak with Kokoro's packs, and so with what was fitted."""


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
    if engine in KOKORO:
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
            found[id] = Voice(id, engine, language, model.gender, name.capitalize(), model.files[0].sha256 or "")
    return found


def resolve(engine: str, name: str) -> Mix:
    """The voices that a name stands for. Weights are 1 where none is written, and are made to add up to 1.

    Raises `unknown_voice` with the near ones, and `bad_option` for a weight that is not a number above 0.
    """
    known = stock(engine)
    weights: dict[str, float] = {}
    for part in name.split("+"):
        id, colon, written = (word.strip() for word in part.partition(":"))
        if id not in known and not (engine in KOKORO and is_saved(id)):
            raise WavemillError("unknown_voice", f"{engine} has no voice {id!r}{near(id, known)}; see `wavemill voices`", "voice")
        try:
            weight = float(written) if colon else 1.0
        except ValueError:
            weight = math.nan
        if not 0 < weight < math.inf:
            raise WavemillError("bad_option", f"voice: {written!r} is no weight for {id}; write {id}:0.5", "voice")
        for part_id, share in ((id, 1.0),) if id in known else _made_of(engine, id):
            weights[part_id] = weights.get(part_id, 0.0) + weight * share
    total = sum(weights.values())
    return tuple((id, weights[id] / total) for id in sorted(weights))


def _made_of(engine: str, id: str) -> Mix:
    """What a voice of the library is spoken with: itself where it is a pack, else what it was saved as."""
    saved = library().find(id)
    return ((id, 1.0),) if saved.sha256 else resolve(engine, saved.made_of)


def heaviest(mix: Mix) -> str:
    """The voice that decides what a mix leaves open."""
    return max(mix, key=lambda part: part[1])[0]


def letter_of(id: str) -> str:
    """Kokoro's letter for the language of a stock or fitted voice."""
    return id[0] if id in KOKORO_PACKS else heaviest(resolve("kokoro", library().find(id).made_of))[0]


def own_language(name: str) -> str | None:
    """The language code that a saved voice speaks where nothing else is said."""
    return library().find(name).language if is_saved(name) else None


def of_recording(name: str) -> bool:
    """Whether a name stands for a voice that a recording told."""
    return any(is_saved(part.partition(":")[0].strip()) for part in name.split("+"))


def pack_digest(engine: str, mix: Mix) -> str:
    """What identifies the sound of a mix: the digest of each pack and its weight. 32 hex digits."""
    known = stock(engine)
    digests = {id: known[id].sha256 or id if id in known else library().find(id).sha256 for id, _ in mix}
    lines = "".join(f"{digests[id]} {weight!r}\n" for id, weight in mix)
    return hashlib.sha256(lines.encode()).hexdigest()[:32]


def read_pack(mix: Mix, models_dir: Path) -> np.ndarray:
    """The weighted styles of a mix, float32 of shape (510, 1, 256). Raises `model_missing` and `unknown_voice`."""
    import numpy as np

    packs = folder("kokoro-voices", models_dir)
    mixed = np.zeros(PACK_SHAPE, np.float32)
    for id, weight in mix:
        read = np.fromfile(packs / f"{id}.bin", "<f4").reshape(PACK_SHAPE) if id in KOKORO_PACKS else library().pack(id)
        mixed += np.float32(weight) * read
    return mixed
