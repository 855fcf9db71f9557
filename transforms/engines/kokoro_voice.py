"""Kokoro in the voice of a reference: a style fitted to it, or the nearest mix of stock voices, found once for each reference."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from transforms import clone, embed, models, steps
from transforms.engine import Engine, Place
from transforms.engines.kokoro import Kokoro, KokoroOptions
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.provenance import PROVENANCE
from transforms.records import Audio, Encoded, Item, Outcome, Piece, Result
from transforms.speakers import MODEL, SpeakerEncoder

if TYPE_CHECKING:
    from transforms.voice_library import Saved

METHODS = {"mix": "nearest mix of stock voices", "fitted": "style fitted by gradient"}
FITTED_BY = 1
"""Version of how a voice is found."""
NEEDED = ("kokoro", "torch")
REMEMBERED = 64


class Fitting(BaseOptions):
    """Base of the options of what finds a voice."""

    method: Literal["auto", "mix", "fitted"] = Field(
        "auto", description="how the voice is found: mixed of stock voices, or fitted in about a minute where torch is installed"
    )


def how(options: Any) -> str:
    """`mix` or `fitted`. Raises `model_unavailable` where fitting is wanted and cannot be done."""
    able = all(find_spec(module) for module in NEEDED)
    if options.method == "fitted" and not able:
        raise WavemillError("model_unavailable", "a voice is fitted by torch: pip install 'wavemill[torch]', or --method mix", "method")
    return "fitted" if able and options.method != "mix" else "mix"


def models_for(options: Any) -> tuple[str, ...]:
    """The weights by which a voice is found."""
    return ("kokoro-int8", "kokoro-voices", MODEL) if how(options) == "fitted" else (MODEL,)


def found_by(options: Any) -> str:
    """The part of an engine's identity that says how a voice is found."""
    return "+".join([f"{how(options)}-{FITTED_BY}", *map(models.identity, models_for(options))])


class Fitted(NamedTuple):
    """A voice as the option `voice` takes it, how it was found, its expected cosine to the reference, and its embedding.

    `mix` is what a mix that is kept under an id stands for.
    """

    voice: str
    method: str
    similarity: float
    embedding: Any
    mix: str = ""

    @property
    def fields(self) -> dict[str, Any]:
        """What a result says of it."""
        told = {"voice": self.voice, "method": self.method, "similarity": round(self.similarity, 3)}
        return {**told, "mix": self.mix} if self.mix else told


class Fitter:
    """Voices of recordings, remembered by their samples. For several threads at once.

    Fitted ones are kept in the library; a mix, which costs little to find again, where `keep` says so.
    """

    def __init__(self, place: Place, keep: bool = False) -> None:
        self._place, self._keep = place, keep
        self._encoder: SpeakerEncoder | None = None
        self._kokoro: Any = None
        self._found: OrderedDict[str, Fitted] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the models; the voices stay."""
        self._encoder = self._kokoro = None

    def voice(self, audio: Audio, options: Any, field: str = "reference") -> Fitted:
        """The voice of a recording, which is the item's `field`. Raises `bad_reference`."""
        from transforms import references

        method = how(options)
        digest = hashlib.sha256(audio.samples[0].tobytes()).hexdigest() if audio.duration_s <= references.MOST_S else ""
        name = hashlib.sha256(f"{digest} {audio.rate_hz} {found_by(options)}".encode()).hexdigest()
        with self._lock:
            if name not in self._found:
                self._found[name] = self._kept(name) or self._find(name, audio, method, field)
                if len(self._found) > REMEMBERED:
                    self._found.popitem(last=False)
            return self._found[name]

    def _kept(self, name: str) -> Fitted | None:
        from transforms.voice_library import library

        saved = library().get(f"emb_{name[:24]}")
        return _told(saved, saved.embedding) if saved else None

    def _find(self, name: str, audio: Audio, method: str, field: str) -> Fitted:
        from transforms import references
        from transforms.voice_library import library

        self._encoder = self._encoder or SpeakerEncoder(self._place)
        embedding = references.embed(self._encoder, audio, field)
        nearest = references.nearest(embedding)
        mix = references.written(nearest.mix)
        id, told = f"emb_{name[:24]}", {"method": METHODS[method], "embedding": _rounded(embedding)}
        if method == "mix":
            if not self._keep:
                return Fitted(mix, METHODS[method], nearest.similarity, embedding)
            return _told(library().add_mix(id, mix, similarity=nearest.similarity, **told), embedding)
        from transforms import fitting

        self._kokoro = self._kokoro or fitting.hold(self._place)
        fit = fitting.fit(embedding, nearest.mix, self._place)
        return _told(library().add_fitted(id, fit.pack, made_of=mix, similarity=fit.similarity, **told), embedding)


def _told(saved: Saved, embedding: Any) -> Fitted:
    return Fitted(saved.id, saved.method, saved.similarity, embedding, "" if saved.sha256 else saved.made_of)


def _rounded(embedding: Any) -> list[float]:
    return [round(float(value), 5) for value in embedding]


class KokoroEmbed(Engine):
    """The voice of a recording as what the option `voice` takes: its id in the library."""

    name = "kokoro"
    operation = "embed"
    version = 3
    rate_hz = 16000
    cost_s = 0.02

    class Options(Fitting, embed.Options):
        pass

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return models_for(options)

    def weights(self, options: BaseOptions) -> str:
        return found_by(options)

    def check(self, item: Item) -> None:
        how(item.options)

    def load(self, place: Place) -> None:
        self._fitter = Fitter(place, keep=True)

    def close(self) -> None:
        self._fitter.close()

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._embed)

    def _embed(self, piece: Piece) -> Outcome:
        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        found = self._fitter.voice(audio, piece.options, "audio")
        fields = {"voice": found.voice, "engine": "kokoro", **found.fields, "duration_s": round(audio.duration_s, 3)}
        told = {**fields, "encoder": models.identity(MODEL), "embedding": _rounded(found.embedding)}
        data = json.dumps(told).encode()
        return Result(fields, {"voice": Encoded(data, "json", hashlib.sha256(data).hexdigest())})


class KokoroClone(Kokoro):
    """Text in the voice of a reference."""

    name = "kokoro"
    operation = "clone"
    version = 2

    class Options(Fitting, KokoroOptions, clone.Options):
        pass

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*super().models(options), *models_for(options)]))

    def weights(self, options: BaseOptions) -> str:
        assert isinstance(options, KokoroOptions)
        return "+".join([*map(models.identity, super().models(options)), found_by(options)])

    def check(self, item: Item) -> None:
        clone.check(item)
        how(item.options)
        super().check(item)

    def load(self, place: Place) -> None:
        super().load(place)
        self._fitter = Fitter(place)

    def close(self) -> None:
        super().close()
        self._fitter.close()

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._clone)

    def _clone(self, piece: Piece) -> Outcome:
        reference, options = piece.inputs["reference"], piece.options
        assert isinstance(reference, Audio)
        found = self._fitter.voice(reference, options)
        said = options.model_copy(update={"voice": found.voice, "language": options.language or "en-us"})
        (spoken,) = super().run([replace(piece, options=said)])
        if not isinstance(spoken, Result):
            return spoken
        return Result({**spoken.fields, **found.fields, "provenance": PROVENANCE}, spoken.outputs)
