"""Voices of recordings: how near a mix, and a style fitted by gradient, come to a voice, against the best single stock voice.

The reference is two sentences, the score is over two others that nothing was fitted with. `similarity` is the cosine of the
speaker encoder that mix and fit go by; the second measure was not optimised: the distance of mean MFCCs (13 without the first,
librosa), where less is nearer. A Kokoro target is left out of the voices that may be mixed. The best
stock voice is the one nearest to the reference, for it must be chosen without the sentences that are scored. Fitting is done with torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
import soxr

from benchmarks import prompts
from benchmarks.measure import table
from benchmarks.prompts import heard
from transforms import fitting, references, speakers
from transforms.engine import Place, engine_class
from transforms.models import KOKORO_PACKS
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings
from transforms.voice_library import library

TOLD = ("The harbour was quiet that morning, and two boats came in slowly.", "An old man waved at them from the end of the pier.")
HELD_OUT = ("She took the lamp from the shelf and went down the stairs.", "I will charge you nothing unless it works.")
TARGETS = ("af_sarah", "am_michael", "bm_fable", "bf_emma", "en_US-joe-medium")
PERSON = "telephone prompts"


class Speakers:
    """Engines that speak for the targets."""

    def __init__(self) -> None:
        settings = Settings()
        self.engines: dict[str, Any] = {}
        for name in ("kokoro", "piper"):
            cls = engine_class("synthesize", name)
            for model in cls().models(cls.Options()):
                pull(model, settings)
            self.engines[name] = cls()
            self.engines[name].load(Place("cpu", 1, settings.models_dir))
        pull(speakers.MODEL, settings)
        self.encoder = speakers.SpeakerEncoder(Place("cpu", 1, settings.models_dir))

    def say(self, voice: str, texts: tuple[str, ...]) -> Audio:
        """The texts one after the other, mono at 16 kHz."""
        engine = self.engines["piper" if "-" in voice else "kokoro"]
        options = engine.Options.parse({"voice": voice} | ({} if "-" in voice else {"language": "en-us"}))
        parts = []
        for text in texts:
            (outcome,) = engine.run([Piece({"text": text}, options, 0)])
            assert isinstance(outcome, Result)
            audio = outcome.outputs["audio"]
            parts.append(soxr.resample(audio.samples[0], audio.rate_hz, 16000))
        return Audio(np.concatenate(parts)[None].astype(np.float32), 16000)


def timbre(audio: Audio) -> np.ndarray:
    """The mean of 12 MFCCs over the frames that are not silent."""
    import librosa

    coefficients = librosa.feature.mfcc(y=audio.samples[0], sr=audio.rate_hz, n_mfcc=13)
    loud = coefficients[0] > np.quantile(coefficients[0], 0.3)
    return np.asarray(coefficients[1:, loud].mean(axis=1))


def spoken_by(people: Speakers, target: str, texts: tuple[str, ...], prompts: Sequence[str]) -> Audio | None:
    return heard(prompts) if target == PERSON else people.say(target, texts)


def report() -> str:
    people, rows, settings = Speakers(), [], Settings()
    torch = find_spec("torch") is not None
    for target in (*TARGETS, PERSON):
        told, own = (spoken_by(people, target, *given) for given in ((TOLD, prompts.TOLD), (HELD_OUT, prompts.HELD_OUT)))
        if told is None or own is None:
            continue
        embedding = references.embed(people.encoder, told)
        aim, colour = people.encoder.embed(own), timbre(own)
        found = references.nearest(embedding, without=target)
        near = [
            speakers.similarity(row, embedding) if id != target else -1 for id, row in zip(KOKORO_PACKS, references.bank(), strict=True)
        ]
        stock = list(KOKORO_PACKS)[int(np.argmax(near))]
        voices = [stock, references.written(found.mix)]
        if torch:
            fit = fitting.fit(embedding, found.mix, Place("cpu", 2, settings.models_dir))
            kept = library().add_fitted(f"emb_{len(rows):024x}", fit.pack, made_of=voices[1], method="fitted", similarity=fit.similarity)
            voices.append(kept.id)
        cells = [target, stock]
        for voice in voices:
            audio = people.say(voice, HELD_OUT)
            cells.append(f"{speakers.similarity(people.encoder.embed(audio), aim):.3f}")
            cells.append(f"{np.linalg.norm(timbre(audio) - colour):.1f}")
        rows.append(cells)
    columns = ("best stock voice", "nearest mix", "fitted")[: 3 if torch else 2]
    head = ["target", "best stock voice", *(f"{name}: {measure}" for name in columns for measure in ("similarity", "MFCC distance"))]
    own_voices, others = (len([row for row in rows if (row[0] in KOKORO_PACKS) == known]) for known in (True, False))
    said = f"{own_voices} targets are Kokoro's own voices, {others} are not: en_US-joe-medium is Piper's, the other is a real person."
    return table(head, rows) + f"\n\n{said}" + ("" if torch else " Fitting needs the extra torch, which was not here.") + "\n"


if __name__ == "__main__":
    print(report())
