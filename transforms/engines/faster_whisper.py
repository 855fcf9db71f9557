"""Whisper in CTranslate2: speech in 100 languages to text with times.

Speech found by silero is laid into windows, decoded some at a time, and every window is then held against the speech in it:
where too little of the voiced time has words, it is heard again by itself, sequentially, and what covers more is kept.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import Field

from transforms import models, transcribe, vad
from transforms.engine import Engine, Place
from transforms.engines import whisper_windows as windows
from transforms.engines.whisper_windows import RATE_HZ, Window
from transforms.errors import WavemillError, near
from transforms.records import Audio, Item, Outcome, Piece, Result
from transforms.segments import UNSPACED, Word, join_texts, make_segments, settle

LANGUAGES = tuple(
    """af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id is it ja jw
    ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv
    sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh""".split()
)
DOES_NOT_TRANSLATE = ("large-v3-turbo",)

COVERED = 0.8
"""The least share of a window's voiced time that must have words."""
LOOPING = 2.4
"""How far a window's text may be compressed before it is taken for a loop; the usual limit for Whisper."""
SHORT = 10 * RATE_HZ


@dataclass(slots=True)
class Heard:
    """What one window, or the share of a piece in it, was heard as. Times are seconds of the window, then of the piece."""

    language: str
    language_probability: float
    words: list[Word] = field(default_factory=list)

    @property
    def loops(self) -> bool:
        text = "".join(word.word for word in self.words).encode()
        return len(text) > LOOPING * len(zlib.compress(text))


class FasterWhisper(Engine):
    name = "faster-whisper"
    operation = "transcribe"
    version = 1
    languages = LANGUAGES
    rate_hz = RATE_HZ
    channels = 1
    max_s = 600.0
    max_batch = 16
    cost_s = 0.1
    carry = ("language",)
    max_tokens = 448
    """Longest decode of a window, its prompt included."""

    class Options(transcribe.Options):
        model: str = Field(
            "base", description="tiny, base, small, medium, large-v3, large-v3-turbo, ...: see `wavemill models list`"
        )
        vad: bool = Field(True, description="listen only where there is speech; false for singing: slower, and less checked")
        initial_prompt: str | None = Field(None, description="text to set style and spelling, as if it had been said before")
        hotwords: str | None = Field(None, description="names and words to expect")
        beam_size: int = Field(5, ge=1, le=20, description="hypotheses kept while decoding; 1 is a third faster")
        temperature: float = Field(0.0, ge=0, le=1, description="0 is reproducible; above, words are sampled and runs differ")
        batch_size: int = Field(4, ge=1, le=64, description="windows of 30 s decoded together")
        compute_type: Literal["auto", "int8", "int8_float16", "float16", "float32"] = Field(
            "auto", description="arithmetic; int8 on a CPU and float16 on a GPU when auto"
        )

    def __init__(self) -> None:
        self._place = Place()
        self._loaded: dict[tuple[str, str], _Model] = {}
        self._lock = threading.Lock()

    def models(self, options: Any) -> tuple[str, ...]:
        return (f"whisper-{options.model}",)

    def check(self, item: Item) -> None:
        options: Any = item.options
        row = models.known(f"whisper-{options.model}")
        if options.language is not None and options.language not in LANGUAGES:
            known = ", ".join(LANGUAGES)
            raise WavemillError(
                "unsupported_language",
                f"no language {options.language!r}; there are {known}{near(options.language, LANGUAGES)}",
                "language",
            )
        if row.languages != ("*",):
            if options.language not in (None, *row.languages):
                raise WavemillError(
                    "unsupported_language", f"{options.model} hears only {', '.join(row.languages)}", "language"
                )
            if options.task == "translate":
                raise WavemillError(
                    "bad_option", f"{options.model} cannot translate; use base, small, medium or large-v3", "task"
                )
        if options.task == "translate" and options.model in DOES_NOT_TRANSLATE:
            raise WavemillError("bad_option", f"{options.model} cannot translate; use base, small, medium or large-v3", "task")

    def load(self, place: Place) -> None:
        import logging

        try:
            import faster_whisper  # noqa: F401  a broken installation shows here, before any work
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"faster-whisper: {error}") from error
        logging.getLogger("faster_whisper").setLevel(logging.WARNING)
        self._place = place

    def close(self) -> None:
        self._loaded.clear()

    def _model(self, options: Any) -> _Model:
        key = (options.model, options.compute_type)
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = _Model(options.model, options.compute_type, self._place, self.max_tokens)
            return self._loaded[key]

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        alike: dict[Any, list[int]] = {}
        for index, piece in enumerate(pieces):
            alike.setdefault(piece.options, []).append(index)
        outcomes: dict[int, Outcome] = {}
        for options, indexes in alike.items():
            audios = [piece.inputs["audio"] for piece in (pieces[i] for i in indexes)]
            heard = _Hearing(self._model(options), options, [audio for audio in audios if isinstance(audio, Audio)])
            outcomes |= zip(indexes, heard.results(), strict=True)
        return [outcomes[index] for index in range(len(pieces))]


class _Hearing:
    """One `run` over pieces with the same options."""

    def __init__(self, model: _Model, options: Any, audios: Sequence[Audio]) -> None:
        self.model, self.options, self.audios = model, options, audios
        self.samples = [audio.samples[0] for audio in audios]
        known = options.language or ("en" if not model.multilingual else None)
        self.languages: list[tuple[str, float] | None] = [(known, 1.0) if known else None for _ in audios]
        self.words: list[list[Word]] = [[] for _ in audios]
        self.spans: list[list[vad.Span]] = [[] for _ in audios]
        self.retried = [0] * len(audios)

    def results(self) -> list[Outcome]:
        if self.options.vad:
            self._hear_speech()
        else:
            for piece, samples in enumerate(self.samples):
                self._keep(piece, self.model.hear_alone(samples, self.languages[piece], self.options))
        return [self._result(piece) for piece in range(len(self.audios))]

    def _hear_speech(self) -> None:
        self.spans = [vad.find_speech(audio, max_speech_s=windows.MAX_SPEECH_S) for audio in self.audios]
        laid = [
            windows.lay_out(piece, spans, audio.frames)
            for piece, (spans, audio) in enumerate(zip(self.spans, self.audios, strict=True))
        ]
        # A piece of several windows is decoded by itself, so that its text does not depend on its neighbours.
        for of_piece in laid:
            if len(of_piece) > 1:
                self._hear(of_piece)
        singles = [of_piece[0] for of_piece in laid if len(of_piece) == 1]
        again = self._hear(windows.pack([w for w in singles if self.languages[w.parts[0].piece]], SHORT))
        self._hear([w for w in singles if not self.languages[w.parts[0].piece] or w.parts[0].piece in again])

    def _hear(self, laid: Sequence[Window]) -> set[int]:
        """Hear windows and keep their words; the pieces of shared windows that must be heard again are returned."""
        again: set[int] = set()
        for batch in _batches(laid, self.options.batch_size):
            sounds = [window.audio(self.samples) for window in batch]
            owners = [window.parts[0].piece for window in batch]
            heard = self.model.hear(sounds, owners, [self.languages[owner] for owner in owners], self.options)
            for window, sound, one in zip(batch, sounds, heard, strict=True):
                if len(window.pieces) > 1:
                    again |= self._keep_shared(window, one)
                else:
                    self._keep_checked(window, sound, one)
        return again

    def _keep_shared(self, window: Window, heard: Heard) -> set[int]:
        doubtful = set(window.pieces) if heard.loops else window.straddles(heard.words)
        for piece in window.pieces:
            words = window.words_of(piece, heard.words)
            if piece not in doubtful and self._coverage(window, piece, words) >= COVERED:
                self._keep(piece, Heard(heard.language, heard.language_probability, words))
            else:
                doubtful.add(piece)
        return doubtful

    def _keep_checked(self, window: Window, sound: np.ndarray, heard: Heard) -> None:
        piece = window.pieces[0]
        heard.words = window.words_of(piece, heard.words)
        coverage = self._coverage(window, piece, heard.words)
        if heard.loops or coverage < COVERED:
            self.retried[piece] += 1
            other = self.model.hear_alone(sound, (heard.language, heard.language_probability), self.options)
            other.words = window.words_of(piece, other.words)
            if (not other.loops, self._coverage(window, piece, other.words)) > (not heard.loops, coverage):
                heard = other
        self._keep(piece, heard)

    def _keep(self, piece: int, heard: Heard) -> None:
        self.languages[piece] = self.languages[piece] or (heard.language, heard.language_probability)
        self.words[piece] += heard.words

    def _coverage(self, window: Window, piece: int, words: Sequence[Word]) -> float:
        mine = [part for part in window.parts if part.piece == piece]
        spans = [
            (max(a, p.start) / RATE_HZ, min(b, p.end) / RATE_HZ)
            for p in mine
            for a, b in self.spans[piece]
            if a < p.end and b > p.start
        ]
        voiced_s = sum(b - a for a, b in spans)
        return windows.covered_s(spans, words) / voiced_s if voiced_s else 1.0

    def _result(self, piece: int) -> Result:
        duration_s = self.audios[piece].duration_s
        language, probability = self.languages[piece] or (None, None)
        words = settle(self.words[piece], duration_s)
        segments = make_segments(words)
        spans = [(a / RATE_HZ, b / RATE_HZ) for a, b in self.spans[piece]]
        voiced_s = sum(b - a for a, b in spans)
        return Result(
            {
                "text": join_texts((word.word for word in words), ""),
                "language": language,
                "language_probability": probability,
                "duration_s": duration_s,
                "segments": segments,
                "voiced_s": voiced_s,
                "coverage": windows.covered_s(spans, words) / voiced_s if voiced_s else None,
                "retried": self.retried[piece],
            }
        )


def _batches(laid: Sequence[Window], size: int) -> Iterator[Sequence[Window]]:
    for start in range(0, len(laid), size):
        yield laid[start : start + size]


class _Model:
    """One loaded Whisper. Its methods may be called by several threads at once."""

    def __init__(self, name: str, compute_type: str, place: Place, max_tokens: int) -> None:
        from faster_whisper import WhisperModel

        cuda = place.device == "cuda"
        folder = models.folder(f"whisper-{name}", place.models_dir)
        try:
            self._whisper = WhisperModel(
                str(folder),
                device="cuda" if cuda else "cpu",
                compute_type=compute_type if compute_type != "auto" else "float16" if cuda else "int8",
                cpu_threads=1,
                num_workers=place.threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError) as error:
            raise WavemillError("engine_unloadable", f"whisper-{name}: {error}") from error
        self.multilingual: bool = self._whisper.model.is_multilingual
        self._max_tokens = max_tokens
        self._tokenizers: dict[tuple[str, str], Any] = {}

    def _tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        key = (language, task)
        if key not in self._tokenizers:
            self._tokenizers[key] = Tokenizer(self._whisper.hf_tokenizer, self.multilingual, task=task, language=language)
        return self._tokenizers[key]

    def hear(
        self, sounds: Sequence[np.ndarray], owners: Sequence[int], languages: Sequence[tuple[str, float] | None], options: Any
    ) -> list[Heard]:
        """What each window holds. Where no language is given, windows of one owner share the likeliest."""
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.transcribe import get_suppressed_tokens

        features = [self._whisper.feature_extractor(sound)[..., :-1] for sound in sounds]
        encoded = self._whisper.encode(np.stack([pad_or_trim(feature) for feature in features]))
        found = self._languages(encoded, owners, languages)
        tokenizers = [self._tokenizer(language, options.task) for language, _ in found]
        prompts = [self._prompt(tokenizer, options) for tokenizer in tokenizers]
        sampling: dict[str, Any] = {"beam_size": options.beam_size}
        if options.temperature:
            sampling = {"beam_size": 1, "sampling_topk": 0, "sampling_temperature": options.temperature}
        generated = self._whisper.model.generate(
            encoded,
            prompts,
            max_length=self._max_tokens,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(tokenizers[0], [-1]),
            **sampling,
        )
        tokens = [self._spoken(one, tokenizer) for one, tokenizer in zip(generated, tokenizers, strict=True)]
        aligned: dict[Any, Any] = {}
        for tokenizer in dict.fromkeys(tokenizers):
            frames = [feature.shape[-1] for feature in features]
            aligned[tokenizer] = self._whisper.find_alignment(tokenizer, tokens, encoded, frames)
        return [
            Heard(*language, _words(aligned[tokenizer][index], tokenizer, tokens[index], len(sounds[index]) / RATE_HZ))
            for index, (language, tokenizer) in enumerate(zip(found, tokenizers, strict=True))
        ]

    def _languages(
        self, encoded: Any, owners: Sequence[int], languages: Sequence[tuple[str, float] | None]
    ) -> list[tuple[str, float]]:
        if all(languages):
            return [language for language in languages if language]
        chances: dict[int, dict[str, list[float]]] = {}
        for owner, results in zip(owners, self._whisper.model.detect_language(encoded), strict=True):
            for token, chance in results:
                chances.setdefault(owner, {}).setdefault(token[2:-2], []).append(chance)
        mean = {owner: {code: sum(p) / len(p) for code, p in codes.items()} for owner, codes in chances.items()}
        detected = {owner: max(codes.items(), key=lambda pair: pair[1]) for owner, codes in mean.items()}
        return [given or detected[owner] for owner, given in zip(owners, languages, strict=True)]

    def _prompt(self, tokenizer: Any, options: Any) -> list[int]:
        before = tokenizer.encode(" " + options.initial_prompt.strip()) if options.initial_prompt else []
        prompt: list[int] = self._whisper.get_prompt(tokenizer, before, without_timestamps=True, hotwords=options.hotwords)
        return prompt

    def _spoken(self, generated: Any, tokenizer: Any) -> list[int]:
        tokens: list[int] = [token for token in generated.sequences_ids[0] if token < tokenizer.eot]
        silent = generated.no_speech_prob > 0.6 and generated.scores[0] < -1.0
        return [] if silent else tokens

    def hear_alone(self, sound: np.ndarray, language: tuple[str, float] | None, options: Any) -> Heard:
        """The same sequentially: Whisper's own timestamps decide where each next window begins."""
        segments, info = self._whisper.transcribe(
            sound,
            language=language[0] if language else None,
            task=options.task,
            beam_size=options.beam_size,
            temperature=options.temperature,
            condition_on_previous_text=False,
            initial_prompt=options.initial_prompt,
            hotwords=options.hotwords,
            word_timestamps=True,
        )
        words = [Word(w.start, w.end, w.word, w.probability) for segment in segments for w in segment.words or ()]
        return Heard(info.language, float(info.language_probability), words)


def _words(aligned: list[dict[str, Any]], tokenizer: Any, tokens: list[int], duration_s: float) -> list[Word]:
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(aligned, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
    words = [Word(float(w["start"]), float(w["end"]), w["word"], float(w["probability"])) for w in aligned if w["word"]]
    text = tokenizer.decode(tokens)
    if text.strip() and not words:
        words = [Word(0.0, duration_s, text, 0.0)]
    if words and not words[0].word.startswith(" ") and tokenizer.language_code not in UNSPACED:
        words[0] = words[0]._replace(word=" " + words[0].word)
    return words
