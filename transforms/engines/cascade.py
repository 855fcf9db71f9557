"""Speech to speech by words: heard with times, and said again at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from transforms import convert_voice, restyle, revoice, steps, translate
from transforms.chain import Chain, Stage, stage
from transforms.engine import Place
from transforms.engines.kokoro_voice import PROVENANCE, Fitter
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Item, Outcome, Piece, Result
from transforms.speakers import MODEL

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

    def own_models(self, options: BaseOptions) -> tuple[str, ...]:
        return (MODEL,)

    def load(self, place: Place) -> None:
        super().load(place)
        self._fitter = Fitter(place)

    def hear(self, stage: Stage, piece: Piece) -> tuple[Result, list[dict[str, Any]]]:
        """What is said, and its segments. Raises `engine_error` where somebody speaks and no word is made out."""
        heard = self.work(stage, piece.seed, {"audio": piece.inputs["audio"]})
        segments = revoice.segments_of(heard)
        if not segments and heard.fields.get("voiced_s", 0.0) >= LEAST_VOICED_S:
            voiced_s = heard.fields["voiced_s"]
            raise WavemillError(
                "engine_error", f"{stage.engine.name} made out no word in {voiced_s:.1f} s of speech at {piece.start_s:.0f} s"
            )
        return heard, segments

    def say(self, stage: Stage, piece: Piece, voice: str, language: str | None) -> revoice.Say:
        """A voice that speaks a text at a rate."""
        options = stage.options.model_copy(update={"voice": voice, "language": language, "sentence_pause": 0.12, "paragraph_pause": 0.0})

        def say(text: str, rate: float) -> Audio:
            update = {"speed": max(0.5, min(2.0, options.speed * rate))}  # type: ignore[attr-defined]
            spoken = self.work(dataclasses.replace(stage, options=options.model_copy(update=update)), piece.seed, {"text": text})
            audio: Audio = spoken.outputs["audio"]
            return audio

        return say

    def chosen(self, piece: Piece) -> tuple[str, dict[str, Any]]:
        """The voice that is meant, and the fields that say how it was found. Raises `bad_reference`."""
        options = piece.options
        target = piece.inputs.get("target") or (piece.inputs["audio"] if self.keeps_voice(options) and not options.voice else None)
        if not isinstance(target, Audio):
            return options.voice, {"voice": options.voice}
        fitted = self._fitter.voice(target)
        return fitted.voice, {**fitted.fields, "provenance": PROVENANCE}

    def keeps_voice(self, options: Any) -> bool:
        """Whether the source's own voice speaks where none is named."""
        return False

    def told(self, options: Any, heard: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of the result, from those of the transcript; `language` is spoken."""
        return {"text": heard["text"], "language": heard["language"]}

    def respeak(self, segments: Sequence[Mapping[str, Any]], say: revoice.Say, duration_s: float, rate_hz: int, options: Any) -> Audio:
        return revoice.speak(segments, say, duration_s, rate_hz)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._convert)

    def _convert(self, piece: Piece) -> Outcome:
        hear, speak = self.stages(piece.options)
        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        heard, segments = self.hear(hear, piece)
        voice, of_voice = self.chosen(piece)
        told = self.told(piece.options, heard.fields)
        say = self.say(speak, piece, voice, told["language"])
        spoken = self.respeak(segments, say, audio.duration_s, speak.engine.rate_hz, piece.options)
        return Result({**told, **of_voice}, {"audio": spoken})


class ConvertVoice(Cascade):
    operation = "convert_voice"
    version = 1
    Options = convert_voice.Options

    def check(self, item: Item) -> None:
        super().check(item)
        if "audio" in item.inputs and "target" not in item.inputs and not item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "whose voice? give a recording of it as target, or a voice by name", "target")


class Restyle(Cascade):
    operation = "restyle"
    version = 1
    Options = restyle.Options

    def keeps_voice(self, options: Any) -> bool:
        return True

    def told(self, options: Any, heard: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().told(options, heard), "emotion": options.emotion}

    def respeak(self, segments: Sequence[Mapping[str, Any]], say: revoice.Say, duration_s: float, rate_hz: int, options: Any) -> Audio:
        preset = restyle.PRESETS[options.emotion]
        moved, total_s = restyle.paced(segments, duration_s, preset)
        return restyle.coloured(revoice.speak(moved, say, total_s, rate_hz, options.speed), preset)


class Translate(Cascade):
    """Into English by the recognizer's own translation."""

    operation = "translate"
    version = 1
    Options = translate.Options

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        assert isinstance(options, translate.Options)
        if options.to.lower().split("-")[0] != "en":
            detail = f"no engine here translates into {options.to!r}; faster-whisper translates into en alone"
            raise WavemillError("unsupported_language", detail, "to")
        yield stage("transcribe", options.stt, language=options.language, task="translate")
        yield stage("synthesize", options.tts, voice=options.voice or None, language=options.to)

    def check(self, item: Item) -> None:
        super().check(item)
        if item.options.preserve_voice and item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "preserve_voice is the source's own voice; leave voice out", "preserve_voice")

    def keeps_voice(self, options: Any) -> bool:
        return bool(options.preserve_voice)

    def told(self, options: Any, heard: Mapping[str, Any]) -> dict[str, Any]:
        return {"text": heard["text"], "language": options.to, "source_language": heard["language"]}
