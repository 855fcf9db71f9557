"""Speech to speech by words: heard with times, and said again at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transforms import convert_voice, restyle, revoice, sentences, steps, translate, voices
from transforms.chain import Chain, Stage, stage
from transforms.engine import TEST_DOUBLE, Place, engines
from transforms.engines.kokoro_voice import Fitter, Fitting, found_by, how, models_for
from transforms.errors import WavemillError
from transforms.languages import same_language
from transforms.options import Options as BaseOptions
from transforms.provenance import PROVENANCE
from transforms.records import Audio, Item, Outcome, Piece, Result
from transforms.segments import join_texts
from transforms.translate_text import glue

LEAST_VOICED_S = 1.0
"""From this much speech on, a transcript without words is taken for a fault and not for silence."""


class Cascade(Chain):
    """What the speech-to-speech operations share."""

    name = "cascade"
    rate_hz = 16000
    max_s = 600.0
    cost_s = 0.5

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        assert isinstance(options, convert_voice.Options)
        yield stage("transcribe", options.stt, language=options.language)
        yield stage("synthesize", options.tts, voice=options.voice or None, language=options.language)

    def hear(self, stage: Stage, piece: Piece) -> tuple[Result, list[dict[str, Any]]]:
        """What is said, and its segments. Raises `engine_error` where somebody speaks and no word is made out."""
        heard = listen(self, stage, piece)
        return heard, revoice.segments_of(heard)

    def say(self, stage: Stage, piece: Piece, voice: str, language: str | None) -> revoice.Say:
        """A voice that speaks a text at a rate."""
        wanted = {"language": language, "sentence_pause": 0.12, "paragraph_pause": 0.0}
        wanted = {name: value for name, value in wanted.items() if name not in piece.options.tts}
        options = stage.options.model_copy(update={**wanted, "voice": voice})

        def say(text: str, rate: float) -> Audio:
            update = {"speed": max(0.5, min(2.0, options.speed * rate))}  # type: ignore[attr-defined]
            spoken = self.work(dataclasses.replace(stage, options=options.model_copy(update=update)), piece.seed, {"text": text})
            audio: Audio = spoken.outputs["audio"]
            return audio

        return say

    def chosen(self, piece: Piece) -> tuple[str, dict[str, Any]]:
        """The voice that is meant, and the fields that say how it was found. Raises `bad_reference`."""
        raise NotImplementedError

    def reworded(self, between: Sequence[Stage], segments: list[dict[str, Any]], heard: Result, piece: Piece) -> list[dict[str, Any]]:
        """The segments with what is said in their place."""
        return segments

    def told(self, options: Any, heard: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Fields of the result, from those of the transcript and from what is said; `language` is spoken."""
        return {"text": heard["text"], "language": heard["language"]}

    def respeak(self, segments: Sequence[Mapping[str, Any]], say: revoice.Say, duration_s: float, speak: Stage, options: Any) -> Audio:
        """All of it said, by the stage that `say` speaks with."""
        return revoice.speak(segments, say, duration_s, speak.engine.rate_hz)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._convert)

    def _convert(self, piece: Piece) -> Outcome:
        hear, *between, speak = self.stages(piece.options)
        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        heard, segments = self.hear(hear, piece)
        segments = self.reworded(between, segments, heard, piece)
        voice, of_voice = self.chosen(piece)
        told = self.told(piece.options, heard.fields, segments)
        say = self.say(speak, piece, voice, told["language"])
        spoken = self.respeak(segments, say, audio.duration_s, speak, piece.options)
        return Result({**told, **of_voice}, {"audio": spoken})


class ByKokoro(Cascade):
    """A cascade whose voices Kokoro speaks: named, or found in a recording."""

    def own_models(self, options: BaseOptions) -> tuple[str, ...]:
        return models_for(options)

    def weights(self, options: BaseOptions) -> str:
        return f"{super().weights(options)}+{found_by(options)}"

    def check(self, item: Item) -> None:
        how(item.options)
        super().check(item)
        *_, speak = self.stages(item.options)
        if ("target" in item.inputs or self.speaks_own_voice(item.options)) and speak.engine.name not in voices.KOKORO:
            detail = f"{speak.engine.name} speaks in no voice of a recording; leave tts.engine out, or name a voice"
            raise WavemillError("bad_option", detail, "tts")

    def speaks_own_voice(self, options: Any) -> bool:
        """Whether the recording's own voice speaks where no target is given."""
        return False

    def load(self, place: Place) -> None:
        super().load(place)
        self._fitter = Fitter(place)

    def close(self) -> None:
        super().close()
        self._fitter.close()

    def chosen(self, piece: Piece) -> tuple[str, dict[str, Any]]:
        """The voice that is meant, and the fields that say how it was found. Raises `bad_reference`."""
        options = piece.options
        target = piece.inputs.get("target")
        if not isinstance(target, Audio):
            voice = options.voice or options.tts.get("voice", "")
            return voice, {"voice": voice, **({"provenance": PROVENANCE} if voices.of_recording(voice) else {})}
        fitted = self._fitter.voice(target, options, "audio" if revoice.OWN in piece.inputs else "target")
        return fitted.voice, {**fitted.fields, "provenance": PROVENANCE}


class ConvertVoice(ByKokoro):
    operation = "convert_voice"
    version = 2

    class Options(Fitting, convert_voice.Options):
        pass

    def check(self, item: Item) -> None:
        super().check(item)
        if "audio" in item.inputs and "target" not in item.inputs and not item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "whose voice? give a recording of it as target, or a voice by name", "target")


class Restyling(Cascade):
    """What is said again in another mood."""

    operation = "restyle"

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        """As of all cascades; a voice that can speak at another pitch is told to."""
        hear, speak = super().stages(options)
        yield hear
        if moves_pitch(speak):
            assert isinstance(options, restyle.Options)
            preset = restyle.PRESETS[options.emotion]
            wanted = {"pitch": preset.semitones, "pitch_range": preset.range}
            update = {name: value for name, value in wanted.items() if name not in options.tts}
            speak = dataclasses.replace(speak, options=speak.options.model_copy(update=update))
        yield speak

    def told(self, options: Any, heard: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {**super().told(options, heard, segments), "emotion": options.emotion}

    def respeak(self, segments: Sequence[Mapping[str, Any]], say: revoice.Say, duration_s: float, speak: Stage, options: Any) -> Audio:
        preset = restyle.PRESETS[options.emotion]
        moved, total_s = restyle.paced(segments, duration_s, preset)
        spoken = revoice.speak(moved, say, total_s, speak.engine.rate_hz, options.speed)
        return restyle.coloured(spoken, preset, 0.0 if moves_pitch(speak) else preset.semitones)


class Restyle(Restyling, ByKokoro):
    version = 4

    def speaks_own_voice(self, options: Any) -> bool:
        return restyle.in_own_voice(options)

    class Options(Fitting, restyle.Options):
        pass


class Translate(ByKokoro):
    """Into English by the recognizer's own translation, into other languages by a text engine between hearing and speaking."""

    operation = "translate"
    version = 2

    class Options(Fitting, translate.Options):
        pass

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        assert isinstance(options, translate.Options)
        yield stage("transcribe", options.stt, language=options.language, task=None if by_text(options) else "translate")
        if by_text(options):
            yield stage("translate_text", options.mt, source=options.language, to=options.to)
        yield stage("synthesize", options.tts, voice=options.voice or None, language=options.to)

    def check(self, item: Item) -> None:
        super().check(item)
        if item.options.preserve_voice and item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "preserve_voice is the source's own voice; leave voice out", "preserve_voice")

    def speaks_own_voice(self, options: Any) -> bool:
        return bool(options.preserve_voice)

    def check_stage(self, stage: Stage, item: Item) -> None:
        source, to = item.options.language, item.options.to  # type: ignore[attr-defined]
        if stage.operation == "translate_text" and source is not None and same_language(source, to):
            return  # nothing to translate
        try:
            super().check_stage(stage, item)
        except WavemillError as error:
            if stage.operation == "synthesize" and error.field == "language":  # which is what it is translated into
                raise WavemillError(error.code, error.detail, "to") from None
            if stage.operation == "translate_text" and error.code == "model_unavailable":
                raise WavemillError(error.code, error.detail + _other_ways(stage), error.field) from None
            undecided = stage.operation == "translate_text" and source is None
            if not undecided:  # which language it is from is heard later
                raise

    def reworded(self, between: Sequence[Stage], segments: list[dict[str, Any]], heard: Result, piece: Piece) -> list[dict[str, Any]]:
        source = heard.fields["language"]
        if not between or not segments or same_language(source, piece.options.to):
            return segments
        (translating,) = between
        known = dataclasses.replace(translating, options=translating.options.model_copy(update={"source": source}))
        said = [each.fields["text"] for each in self.work_all(known, piece.seed, [{"text": segment["text"]} for segment in segments])]
        if not any(map(sentences.spoken, said)):
            raise WavemillError("engine_error", f"translate_text: {known.engine.name} answered no words: {' '.join(said)[:100]!r}")
        return [{**segment, "text": text} for segment, text in zip(segments, said, strict=True) if sentences.spoken(text)]

    def told(self, options: Any, heard: Mapping[str, Any], segments: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        text = join_texts((segment["text"] for segment in segments), glue(options.to))
        told = {"text": text, "language": options.to, "source_language": heard["language"]}
        return {**told, "source_text": heard["text"]} if by_text(options) else told


def by_text(options: translate.Options) -> bool:
    """Whether a text engine translates, and not the recognizer."""
    return bool(options.mt) or not same_language(options.to, "en")


def _other_ways(stage: Stage) -> str:
    """What to do where a text engine is not here."""
    others = [f"mt.engine={name}" for name in engines(stage.operation) if name not in (stage.engine.name, TEST_DOUBLE)]
    return f". Other text engines: {', '.join(others)}; into en the recognizer translates by itself, without any"


def moves_pitch(stage: Stage) -> bool:
    """Whether the stage's engine speaks at another pitch by itself."""
    return stage.options.takes("pitch")


def listen(chain: Chain, stage: Stage, piece: Piece) -> Result:
    """A piece's transcript. Raises `engine_error` where somebody speaks and no word is made out."""
    heard = chain.work(stage, piece.seed, {"audio": piece.inputs["audio"]})
    voiced_s = heard.fields.get("voiced_s", 0.0)
    if voiced_s >= LEAST_VOICED_S and not heard.fields["text"].strip():
        raise WavemillError("engine_error", f"{stage.engine.name} made out no word in {voiced_s:.1f} s of speech at {piece.start_s:.0f} s")
    return heard
