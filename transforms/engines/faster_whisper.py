"""Whisper in CTranslate2: speech in 100 languages to text with times."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from transforms import models
from transforms.engine import Engine, Place
from transforms.engines import diarizing
from transforms.errors import WavemillError, near
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Item, Outcome, Piece

LANGUAGES = (
    "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it ja"
    " jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq"
    " sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh"
)
NO_TRANSLATION = ("large-v3-turbo",)
"""Models of all languages that were not taught to translate."""


class FasterWhisper(Engine):
    name = "faster-whisper"
    operation = "transcribe"
    requires = ("faster_whisper",)
    version = 1
    languages = tuple(LANGUAGES.split())
    rate_hz = 16000
    channels = 1
    max_s = 600.0
    max_batch = 32
    max_batch_s = 120.0
    cost_s = 0.1
    carry = ("language",)
    max_tokens = 448
    """Longest decode of a window, its prompt included."""

    class Options(diarizing.Options):
        model: str = Field("base", description="tiny, base, small, medium, large-v3, ...: see `wavemill models list`")
        vad: bool = Field(True, description="listen only where there is speech; false for singing: slower, and not checked")
        initial_prompt: str | None = Field(None, description="text to set style and spelling, as if it had been said before")
        hotwords: str | None = Field(None, description="names and words to expect")
        beam_size: int = Field(5, ge=1, le=20, description="hypotheses kept while decoding; 1 is a quarter faster")
        temperature: float = Field(0.0, ge=0, le=1, description="0 is reproducible; above, words are drawn and runs differ")
        batch_size: int = Field(4, ge=1, le=64, description="windows of 30 s decoded together")
        compute_type: Literal["auto", "int8", "int8_float16", "float16", "float32"] = Field(
            "auto", description="arithmetic; when auto, int8 on a CPU and float16 on a GPU"
        )

    def __init__(self) -> None:
        self._place = Place()
        self._loaded: dict[tuple[str, str], Any] = {}
        self._diarizer = diarizing.Diarizer(self._place)
        self._lock = threading.Lock()

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        assert isinstance(options, self.Options)
        return (f"whisper-{options.model}", *diarizing.models_for(options))

    def weights(self, options: BaseOptions) -> str:
        assert isinstance(options, self.Options)
        return "+".join([models.identity(f"whisper-{options.model}"), *diarizing.identity(options)])

    def check(self, item: Item) -> None:
        options = item.options
        assert isinstance(options, self.Options)
        row = models.known(f"whisper-{options.model}")
        hears = self.languages if row.languages == ("*",) else row.languages
        if options.language is not None and options.language not in hears:
            detail = f"whisper {options.model} does not hear {options.language!r}, but {', '.join(hears)}"
            raise WavemillError("unsupported_language", detail + near(options.language, hears), "language")
        if options.task == "translate" and (row.languages != ("*",) or options.model in NO_TRANSLATION):
            detail = f"whisper {options.model} does not translate; base, small, medium and large-v3 do"
            raise WavemillError("bad_option", detail, "task")
        diarizing.check(options)

    def load(self, place: Place) -> None:
        import logging

        try:
            import faster_whisper  # noqa: F401  (a broken installation shows here, before any work)
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"faster-whisper: {error}") from error
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        self._place, self._diarizer = place, diarizing.Diarizer(place)

    def close(self) -> None:
        self._loaded.clear()
        self._diarizer.close()

    def _model(self, options: Any) -> Any:
        from transforms.engines.whisper_model import WhisperModel

        key = (options.model, options.compute_type)
        with self._lock:
            if key not in self._loaded:
                folder = models.folder(f"whisper-{options.model}", self._place.models_dir)
                self._loaded[key] = WhisperModel(folder, options.compute_type, self._place, self.max_tokens)
            return self._loaded[key]

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        from transforms.engines.whisper_hearing import Hearing

        alike: dict[Any, list[int]] = {}
        for index, piece in enumerate(pieces):
            alike.setdefault(piece.options, []).append(index)
        outcomes: dict[int, Outcome] = {}
        for options, indexes in alike.items():
            audios = [audio for index in indexes if isinstance(audio := pieces[index].inputs["audio"], Audio)]
            results = Hearing(self._model(options), options, audios).results()
            told = [self._diarizer.tell(result, audio, options) for result, audio in zip(results, audios, strict=True)]
            outcomes |= zip(indexes, told, strict=True)
        return [outcomes[index] for index in range(len(pieces))]
