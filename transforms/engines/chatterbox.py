"""Chatterbox (Resemble AI, MIT) on torch: zero-shot speech in the voice of some seconds of a recording."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

from pydantic import Field

from transforms import chatterbox_model, chatterbox_takes, clone, embed, models, references, sentences, steps, synthesize
from transforms.chatterbox_model import RATE_HZ, REMEMBERED, Chatterboxes, Name, lent, unpacked
from transforms.chatterbox_takes import Take
from transforms.engine import Engine, Place
from transforms.engines.torch_place import Portion
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.provenance import PROVENANCE
from transforms.records import Audio, Encoded, Item, Outcome, Piece, Result
from transforms.speakers import MODEL, SpeakerEncoder

if TYPE_CHECKING:
    import numpy as np

METHOD = "chatterbox conditionals"
WATERMARK = "perth"
MAX_VOICE_BYTES = 16 << 20
LANGUAGES = (
    "ar",
    "da",
    "de",
    "el",
    "en",
    "es",
    "fi",
    "fr",
    "he",
    "hi",
    "it",
    "ja",
    "ko",
    "ms",
    "nl",
    "no",
    "pl",
    "pt",
    "ru",
    "sv",
    "sw",
    "tr",
)
"""Those of the multilingual model but Chinese, for which its library fetches a word segmenter when it runs."""
LEAST_CHARS = 40
"""The least that a part of a sentence may have when memory does not suffice; of few words the model makes others."""
BATCH = 4
"""Pieces that a GPU is given at once: of the longest speech each remembers some 600 MB. A processor's cores are filled by calls."""
TURBO_LEAST_S = 5.0
"""Turbo's library takes no shorter reference."""


class ChatterboxOptions(synthesize.Options):
    """Which of the models speaks, in whose voice, and how it draws."""

    voice: str = Field("", description="path or URI of a voice that embed wrote, NAME.json; the model's own when unset")
    model: Name | None = Field(None, description="weights: tts or turbo for English, multilingual; by the language when unset")
    exaggeration: float = Field(0.5, ge=0.0, le=2.0, description="how much is felt, 0.5 being neutral (not turbo)")
    cfg_weight: float = Field(0.5, ge=0.0, le=1.0, description="how closely text and voice are followed; less is slower (not turbo)")
    temperature: float = Field(0.8, ge=0.05, le=5.0, description="how much one take differs from another")


class Voice(NamedTuple):
    """The library's conditionals, None being the model's own, and what is told of them."""

    conditionals: Any
    told: dict[str, str]


class ChatterboxEngine(Engine):
    """What the Chatterbox engines share."""

    name = "chatterbox"
    requires = ("chatterbox", "perth", "torch")
    extra = "chatterbox"
    parallel = "one"
    rate_hz = RATE_HZ

    def load(self, place: Place) -> None:
        self._place, self._models = place, Chatterboxes(place)
        self._portion = Portion(self.name, self._models.device)
        self._encoder: SpeakerEncoder | None = None
        self._stored = lru_cache(maxsize=REMEMBERED)(lambda voice, name: unpacked(read_voice(voice), name, self._models.device))

    def close(self) -> None:
        self._models.close()
        self._stored.cache_clear()
        self._encoder = None

    def stored(self, voice: str, name: Name) -> Any:
        """The voice of a file of embed as a speaking model takes it. Raises `bad_option`, and as `read_voice`."""
        return self._stored(voice, name)

    def conditionals(self, name: Name, reference: Audio) -> Any:
        """The reference's voice as a speaking model takes it. Raises `bad_reference`."""
        self.judge(reference)
        if name == "turbo" and reference.duration_s <= TURBO_LEAST_S:
            detail = f"the reference is {reference.duration_s:.1f} s long; turbo takes one of more than {TURBO_LEAST_S:.0f} s"
            raise WavemillError("bad_reference", detail, "reference")

        def make(model: Any, file: Any) -> Any:
            with lent(model, "conds", None):
                model.prepare_conditionals(file)
                return model.conds

        return self._models.heard(chatterbox_model.row(name), reference, make)

    def judge(self, reference: Audio, field: str = "reference") -> None:
        """Raises `bad_reference` for what can tell no voice."""
        self._encoder = self._encoder or SpeakerEncoder(self._place)
        references.embed(self._encoder, reference, field)


class Sounding(ChatterboxEngine):
    """Those that make sound, of several pieces at once, each in a voice of its own."""

    def load(self, place: Place) -> None:
        super().load(place)
        if self._models.device != "cpu":
            self.max_batch = BATCH

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        """Raises `out_of_memory` of a single piece, and what torch raises of several."""
        return steps.together(pieces, lambda piece: (piece, self.voice(piece)), self._marked)

    def _marked(self, given: Sequence[tuple[Piece, Voice]]) -> Iterator[Outcome]:
        import numpy as np

        made = self.sound([(piece, voice.conditionals) for piece, voice in given])
        for samples, (_, voice) in zip(made, given, strict=True):
            audio = Audio(np.clip(self._models.marked(samples), -1, 1)[None], RATE_HZ)
            yield Result({"watermark": WATERMARK, **voice.told}, {"audio": audio})

    def voice(self, piece: Piece) -> Voice:
        """What a piece is to sound in; what is raised is that piece's own trouble."""
        raise NotImplementedError

    def sound(self, given: Sequence[tuple[Piece, Any]]) -> list[np.ndarray]:
        """Samples of each piece, float32 of shape (frames,), in the voice of some conditionals."""
        raise NotImplementedError


class Chatterbox(Sounding):
    """Speech in the model's own voice, or in one that embed has stored. Each text is drawn, its seed being the item's."""

    operation = "synthesize"
    version = 2
    Options: ClassVar[type[ChatterboxOptions]] = ChatterboxOptions
    languages = LANGUAGES
    max_chars = 300
    cost_s = 1.0
    gated = True
    padded = "text"

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (chatterbox_model.row(_model(options)),)

    def weights(self, options: BaseOptions) -> str:
        assert isinstance(options, ChatterboxOptions)
        return "+".join([*map(models.identity, self.models(options)), *voice_identity(options.voice)])

    def check(self, item: Item) -> None:
        options = item.options
        assert isinstance(options, ChatterboxOptions)
        check_voice(options.voice)
        _check(options)

    def voice(self, piece: Piece) -> Voice:
        text = str(piece.inputs["text"])
        if not any(symbol.isalnum() for symbol in text):
            raise WavemillError("empty_text", f"nothing in {text[:40]!r} can be spoken", "text")
        conditionals, told = self.chosen(piece)
        return Voice(conditionals, {"model": _model(piece.options), **told})

    def chosen(self, piece: Piece) -> Voice:
        stored = piece.options.voice
        return Voice(self.stored(stored, _model(piece.options)), {"provenance": PROVENANCE}) if stored else Voice(None, {})

    def sound(self, given: Sequence[tuple[Piece, Any]]) -> list[np.ndarray]:
        options = given[0][0].options
        row, drawn = chatterbox_model.row(_model(options)), _drawn(options)

        def speak(most: float) -> list[np.ndarray]:
            takes = [Take(_parts(str(piece.inputs["text"]), round(most)), voice, piece.seed) for piece, voice in given]
            return chatterbox_takes.speak(self._models, row, takes, **drawn)

        longest = max(len(str(piece.inputs["text"])) for piece, _ in given)
        return self._portion.halving(longest, "characters", LEAST_CHARS, speak, pieces=len(given))


class ChatterboxClone(Chatterbox):
    """Text in the voice of a reference, which is heard once."""

    operation = "clone"
    version = 2

    class Options(ChatterboxOptions, clone.Options):
        pass

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (*super().models(options), MODEL)

    def check(self, item: Item) -> None:
        clone.check(item)
        super().check(item)

    def chosen(self, piece: Piece) -> Voice:
        reference = piece.inputs["reference"]
        assert isinstance(reference, Audio)
        return Voice(self.conditionals(_model(piece.options), reference), {"method": METHOD, "provenance": PROVENANCE})


class ChatterboxEmbed(ChatterboxEngine):
    """The voice of a recording as the library's conditionals: a file that the option `voice` of the other operations takes."""

    operation = "embed"
    version = 1
    cost_s = 0.5

    class Options(embed.Options):
        model: Name = Field("tts", description="the model that is to speak: tts and multilingual share their voices, turbo has its own")

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        assert isinstance(options, self.Options)
        return chatterbox_model.row(options.model), MODEL

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._embed)

    def _embed(self, piece: Piece) -> Outcome:
        audio, name = piece.inputs["audio"], piece.options.model
        assert isinstance(audio, Audio)
        fields = {"engine": self.name, "model": name, "method": METHOD, "duration_s": round(audio.duration_s, 3)}
        data = json.dumps({**fields, "conditionals": chatterbox_model.packed(self.conditionals(name, audio))}).encode()
        return Result(fields, {"voice": Encoded(data, "json", hashlib.sha256(data).hexdigest())})


def check_voice(voice: str) -> None:
    """Raises `unknown_voice` for what cannot be a stored voice."""
    if voice and not voice.endswith(".json"):
        detail = (
            f"chatterbox has no voice {voice!r}: it speaks in its own, or in one that `wavemill embed -e chatterbox` wrote as NAME.json"
        )
        raise WavemillError("unknown_voice", detail, "voice")


def voice_identity(voice: str) -> list[str]:
    """What identifies the sound of a stored voice; nothing where none is named. Raises as `read_voice`."""
    return [hashlib.sha256(read_voice(voice)).hexdigest()[:32]] if voice else []


def read_voice(uri: str) -> bytes:
    """The bytes of a stored voice. Raises `unknown_voice` for a file that is far too large, and as `storage.open_input`."""
    from transforms import storage

    with storage.open_input(uri) as opened:
        if opened.bytes > MAX_VOICE_BYTES:
            raise WavemillError("unknown_voice", f"{uri}: {opened.bytes} bytes are no voice of chatterbox", "voice")
        return opened.file.read()


def _check(options: ChatterboxOptions) -> None:
    language, name = _base(options.language), _model(options)
    known = LANGUAGES if name == "multilingual" else ("en",)
    if language not in known:
        more = "" if known is LANGUAGES else "; the model multilingual has others"
        detail = f"chatterbox's model {name} has no {options.language!r}; it has {', '.join(known)}{more}"
        raise WavemillError("unsupported_language", detail, "language")
    if options.speed != 1:
        raise WavemillError("bad_option", "speed: chatterbox has no rate; leave it at 1", "speed")
    for field in ("exaggeration", "cfg_weight"):
        if name == "turbo" and getattr(options, field) != ChatterboxOptions.model_fields[field].default:
            raise WavemillError("bad_option", f"{field}: the model turbo has none; take {', '.join(get_args(Name)[::2])}", field)


def _model(options: Any) -> Name:
    name: Name | None = options.model
    return name or ("tts" if _base(options.language) == "en" else "multilingual")


def _base(language: str | None) -> str:
    return (language or "en").lower().replace("_", "-").partition("-")[0]


def _drawn(options: Any) -> dict[str, Any]:
    """The options of the library's `generate`."""
    drawn: dict[str, Any] = {"temperature": options.temperature}
    if _model(options) != "turbo":
        drawn |= {"exaggeration": options.exaggeration, "cfg_weight": options.cfg_weight}
    if _model(options) == "multilingual":
        # Resemble's own default: the light library lacks the watch over the alignment, which ends what goes round in circles
        drawn |= {"language_id": _base(options.language), "repetition_penalty": 2.0}
    return drawn


def _parts(text: str, most: int) -> list[str]:
    return sentences.pack([part for part, _ in sentences.cut(text, most) if sentences.spoken(part)], most)
