"""One loaded Whisper: all that is known here of faster-whisper and CTranslate2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from transforms.engine import Place
from transforms.engines.ctranslate2_place import device_of
from transforms.errors import WavemillError
from transforms.segments import Word, glue_of

NO_SPEECH, NO_SPEECH_LOGPROB = 0.6, -1.0
"""Above the one and below the other a window is taken for silent, as Whisper itself does."""
LOOPING = 2.4
"""A text that compresses further than this is taken for a loop, as Whisper itself does."""
OPENING, CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


@dataclass(slots=True)
class Language:
    """A language's code and how likely it is."""

    code: str
    probability: float = 1.0


@dataclass(slots=True)
class Heard:
    """What was heard in some sound; the words' times are seconds of that sound."""

    language: Language
    words: list[Word] = field(default_factory=list)


class WhisperModel:
    """Both ways of hearing may be called by several threads at once: the decoder runs one worker a thread."""

    def __init__(self, folder: Path, compute_type: str, place: Place, max_tokens: int) -> None:
        import faster_whisper

        device = device_of(place)
        if compute_type == "auto":
            compute_type = "float16" if device == "cuda" else "int8"
        try:
            self._whisper = faster_whisper.WhisperModel(
                str(folder),
                device=device,
                compute_type=compute_type,
                cpu_threads=1,
                num_workers=place.threads,
                local_files_only=True,
            )
        except (RuntimeError, ValueError) as error:
            raise WavemillError("engine_unloadable", f"{folder.name}: {error}") from error
        self.multilingual: bool = self._whisper.model.is_multilingual
        self._max_tokens = max_tokens
        self._tokenizers: dict[tuple[str, str], Any] = {}

    def hear(self, sounds: Sequence[np.ndarray], owners: Sequence[int], languages: Sequence[Language | None], options: Any) -> list[Heard]:
        """What windows of at most 30 s hold. Where no language is given, windows of one owner share the likeliest."""
        from faster_whisper.audio import pad_or_trim
        from faster_whisper.transcribe import get_suppressed_tokens

        features = [self._whisper.feature_extractor(sound)[..., :-1] for sound in sounds]
        encoded = self._whisper.encode(np.stack([pad_or_trim(feature) for feature in features]))
        found = languages if all(languages) else self._detect(encoded, owners, languages)
        tokenizers = [self._tokenizer(language, options.task) for language in found if language]
        drawing = {"sampling_topk": 0, "sampling_temperature": options.temperature}
        generated = self._whisper.model.generate(
            encoded,
            [self._prompt(tokenizer, options) for tokenizer in tokenizers],
            max_length=self._max_tokens,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(tokenizers[0], [-1]),
            beam_size=1 if options.temperature else options.beam_size,
            **(drawing if options.temperature else {}),
        )
        tokens = [_spoken(one, tokenizer) for one, tokenizer in zip(generated, tokenizers, strict=True)]
        frames = [feature.shape[-1] for feature in features]
        # Alignment takes one prompt for all its windows, and so is done once for each language among them.
        aligned = {one: self._whisper.find_alignment(one, tokens, encoded, frames) for one in dict.fromkeys(tokenizers)}
        return [
            Heard(language, _words(aligned[tokenizer][index], tokenizer, tokens[index], frames[index] / 100))
            for index, (language, tokenizer) in enumerate(zip(found, tokenizers, strict=True))
            if language
        ]

    def hear_alone(self, sound: np.ndarray, language: Language | None, options: Any) -> Heard:
        """Sound of any length, sequentially: Whisper's own timestamps decide where each next window begins.

        What goes round in a loop is left out: it was not said.
        """
        segments, info = self._whisper.transcribe(
            sound,
            language=language.code if language else None,
            task=options.task,
            beam_size=options.beam_size,
            temperature=options.temperature,
            condition_on_previous_text=False,
            initial_prompt=options.initial_prompt,
            hotwords=options.hotwords,
            word_timestamps=True,
        )
        said = [word for segment in segments if segment.compression_ratio <= LOOPING for word in segment.words or ()]
        words = [Word(float(w.start), float(w.end), w.word, float(w.probability)) for w in said]
        return Heard(language or Language(info.language, float(info.language_probability)), words)

    def _tokenizer(self, language: Language, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        key = (language.code, task)
        if key not in self._tokenizers:
            made = Tokenizer(self._whisper.hf_tokenizer, self.multilingual, task=task, language=language.code)
            self._tokenizers.setdefault(key, made)
        return self._tokenizers[key]

    def _detect(self, encoded: Any, owners: Sequence[int], languages: Sequence[Language | None]) -> list[Language]:
        chances: dict[int, dict[str, float]] = {}
        for owner, results in zip(owners, self._whisper.model.detect_language(encoded), strict=True):
            of_owner = chances.setdefault(owner, {})
            for token, chance in results:
                code = token[2:-2]
                of_owner[code] = of_owner.get(code, 0.0) + chance / owners.count(owner)
        return [given or _likeliest(chances[owner]) for owner, given in zip(owners, languages, strict=True)]

    def _prompt(self, tokenizer: Any, options: Any) -> list[int]:
        before = tokenizer.encode(" " + options.initial_prompt.strip()) if options.initial_prompt else []
        prompt: list[int] = self._whisper.get_prompt(tokenizer, before, without_timestamps=True, hotwords=options.hotwords)
        return prompt


def _likeliest(chances: Mapping[str, float]) -> Language:
    return Language(*max(chances.items(), key=lambda pair: pair[1]))


def _spoken(generated: Any, tokenizer: Any) -> list[int]:
    if generated.no_speech_prob > NO_SPEECH and generated.scores[0] < NO_SPEECH_LOGPROB:
        return []
    return [token for token in generated.sequences_ids[0] if token < tokenizer.eot]


def _words(aligned: list[dict[str, Any]], tokenizer: Any, tokens: list[int], duration_s: float) -> list[Word]:
    from faster_whisper.transcribe import merge_punctuations

    merge_punctuations(aligned, OPENING, CLOSING)
    words = [Word(float(w["start"]), float(w["end"]), w["word"], float(w["probability"])) for w in aligned if w["word"]]
    text = tokenizer.decode(tokens)
    if text.strip() and not words:
        words = [Word(0.0, duration_s, text, 0.0)]
    if words and not words[0].word.startswith(" "):
        words[0] = words[0]._replace(word=glue_of(tokenizer.language_code) + words[0].word)
    return words
