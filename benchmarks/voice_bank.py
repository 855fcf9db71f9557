"""`python -m benchmarks.voice_bank`: the embeddings of Kokoro's stock voices, written to `transforms/voice_bank.npy`.

To be made again when the voices, the speaker encoder or the engine's sound change; then `KokoroEmbed.version` and
`KokoroClone.version` are raised, for other mixes will be found.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measure import ROOT
from benchmarks.quality_voices import Speakers
from transforms.models import KOKORO_PACKS

TEXTS = (
    "Please send the signed contract to our office before Friday.",
    "The quick brown fox jumps over the lazy dog.",
    "Children sat on the warm grass and listened to the old story.",
)


def embeddings() -> np.ndarray:
    """float16 of shape (54, 256), in the order of `models.KOKORO_PACKS`."""
    people = Speakers()
    return np.stack([people.encoder.embed(people.say(voice, TEXTS)) for voice in KOKORO_PACKS]).astype(np.float16)


if __name__ == "__main__":
    np.save(ROOT / "transforms/voice_bank.npy", embeddings())
