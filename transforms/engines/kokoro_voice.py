"""Kokoro in the voice of a reference: the nearest mix of its stock voices, found once for each reference."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from transforms import clone, embed, models, steps
from transforms.engine import Engine, Place
from transforms.engines.kokoro import Kokoro, KokoroOptions
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Encoded, Item, Outcome, Piece, Result
from transforms.speakers import MODEL, SpeakerEncoder

METHOD = "nearest mix of stock voices"
PROVENANCE = "synthetic speech in the voice of a reference, made by wavemill"
REMEMBERED = 64


class Fitted(NamedTuple):
    """A voice as the option `voice` takes it, its expected cosine to the reference, and the reference's embedding."""

    voice: str
    similarity: float
    embedding: Any

    @property
    def fields(self) -> dict[str, Any]:
        """What a result says of it."""
        return {"voice": self.voice, "method": METHOD, "similarity": round(self.similarity, 3)}


class Fitter:
    """Voices of recordings, remembered by their samples; may be called by several threads at once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._encoder: SpeakerEncoder | None = None
        self._found: OrderedDict[str, Fitted] = OrderedDict()
        self._lock = threading.Lock()

    def voice(self, audio: Audio) -> Fitted:
        """The voice of a recording. Raises `bad_reference`."""
        from transforms import references

        name = hashlib.sha256(audio.samples[0].tobytes()).hexdigest() if audio.duration_s <= references.MOST_S else ""
        with self._lock:
            if name not in self._found:
                self._encoder = self._encoder or SpeakerEncoder(self._place)
                embedding = references.embed(self._encoder, audio)
                found = references.nearest(embedding)
                self._found[name] = Fitted(references.written(found.mix), found.similarity, embedding)
                if len(self._found) > REMEMBERED:
                    self._found.popitem(last=False)
            return self._found[name]


class KokoroEmbed(Engine):
    """The voice of a recording as a mix that the option `voice` takes."""

    name = "kokoro"
    operation = "embed"
    version = 1
    Options = embed.Options
    rate_hz = 16000
    cost_s = 0.02

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (MODEL,)

    def load(self, place: Place) -> None:
        self._fitter = Fitter(place)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._embed)

    def _embed(self, piece: Piece) -> Outcome:
        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        found = self._fitter.voice(audio)
        fields = {"voice": found.voice, "engine": "kokoro", **found.fields, "duration_s": round(audio.duration_s, 3)}
        told = {**fields, "encoder": models.identity(MODEL), "embedding": [round(float(value), 5) for value in found.embedding]}
        data = json.dumps(told).encode()
        return Result(fields, {"voice": Encoded(data, "json", hashlib.sha256(data).hexdigest())})


class KokoroClone(Kokoro):
    """Text in the voice of a reference."""

    name = "kokoro"
    operation = "clone"
    version = 1
    cloning = True

    class Options(KokoroOptions, clone.Options):
        pass

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (*super().models(options), MODEL)

    def weights(self, options: BaseOptions) -> str:
        assert isinstance(options, KokoroOptions)
        return "+".join(map(models.identity, self.models(options)))

    def check(self, item: Item) -> None:
        clone.check(item)
        super().check(item)

    def load(self, place: Place) -> None:
        super().load(place)
        self._fitter = Fitter(place)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._clone)

    def _clone(self, piece: Piece) -> Outcome:
        reference, options = piece.inputs["reference"], piece.options
        assert isinstance(reference, Audio)
        found = self._fitter.voice(reference)
        said = options.model_copy(update={"voice": found.voice, "language": options.language or "en-us"})
        spoken = self._speak(str(piece.inputs["text"]), said)
        if not isinstance(spoken, Result):
            return spoken
        return Result({**spoken.fields, **found.fields, "provenance": PROVENANCE}, spoken.outputs)
