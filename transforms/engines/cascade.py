"""Speech to speech by words: heard with times, and said again at them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from transforms import convert_voice, restyle, revoice, steps, translate
from transforms.chain import Chain, Stage, stage
from transforms.engine import Place
from transforms.engines.kokoro_voice import METHOD, PROVENANCE, Fitter
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

    def say(self, stage: Stage, seed: int, voice: str, language: str | None) -> revoice.Say:
        """A voice that speaks a text at a rate."""
        options = stage.options.model_copy(update={"voice": voice, "language": language, "sentence_pause": 0.12, "paragraph_pause": 0.0})

        def say(text: str, rate: float) -> Audio:
            update = {"speed": max(0.5, min(2.0, options.speed * rate))}  # type: ignore[attr-defined]
            spoken = self.work(dataclasses.replace(stage, options=options.model_copy(update=update)), seed, {"text": text})
            audio: Audio = spoken.outputs["audio"]
            return audio

        return say

    def voice_of(self, audio: Audio) -> tuple[str, float]:
        """The mix nearest to a recording's voice, and how near. Raises `bad_reference`."""
        from transforms import references

        found, _ = self._fitter.voice(audio)
        return references.written(found.mix), found.similarity

    def chosen(self, piece: Piece, fallback: Audio | None = None) -> tuple[str, dict[str, Any]]:
        """The voice that is meant, and the fields that say how it was found."""
        target = piece.inputs.get("target") or (None if piece.options.voice else fallback)
        if not isinstance(target, Audio):
            return piece.options.voice, {"voice": piece.options.voice}
        voice, near = self.voice_of(target)
        return voice, {"voice": voice, "method": METHOD, "similarity": round(near, 3), "provenance": PROVENANCE}


def heard_by(options: Any) -> Stage:
    return stage("transcribe", options.stt, language=options.language)


class ConvertVoice(Cascade):
    operation = "convert_voice"
    version = 1
    Options = convert_voice.Options

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        assert isinstance(options, convert_voice.Options)
        yield heard_by(options)
        yield stage("synthesize", options.tts, voice=options.voice or None, language=options.language)

    def check(self, item: Item) -> None:
        super().check(item)
        if "audio" in item.inputs and "target" not in item.inputs and not item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "whose voice? give a recording of it as target, or a voice by name", "target")

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return steps.one_by_one(pieces, self._convert)

    def _convert(self, piece: Piece) -> Outcome:
        hear, speak = self.stages(piece.options)
        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        heard, segments = self.hear(hear, piece)
        voice, fields = self.chosen(piece)
        language = heard.fields["language"]
        spoken = revoice.speak(segments, self.say(speak, piece.seed, voice, language), audio.duration_s, speak.engine.rate_hz)
        return Result({"text": heard.fields["text"], "language": language, **fields}, {"audio": spoken})


class Restyle(ConvertVoice):
    operation = "restyle"
    version = 1
    Options = restyle.Options

    def check(self, item: Item) -> None:
        Chain.check(self, item)

    def _convert(self, piece: Piece) -> Outcome:
        hear, speak = self.stages(piece.options)
        options, audio = piece.options, piece.inputs["audio"]
        assert isinstance(audio, Audio)
        preset = restyle.PRESETS[options.emotion]
        heard, segments = self.hear(hear, piece)
        voice, fields = self.chosen(piece, fallback=audio)
        language, rate_hz = heard.fields["language"], speak.engine.rate_hz
        paced, total_s = _paced(segments, audio.duration_s, preset)
        spoken = revoice.speak(paced, self.say(speak, piece.seed, voice, language), total_s, rate_hz, options.speed)
        told = {"text": heard.fields["text"], "language": language, "emotion": options.emotion, **fields}
        return Result(told, {"audio": _coloured(spoken, preset)})


class Translate(ConvertVoice):
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
        Chain.check(self, item)
        if item.options.preserve_voice and item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "preserve_voice is the source's own voice; leave voice out", "preserve_voice")

    def _convert(self, piece: Piece) -> Outcome:
        hear, speak = self.stages(piece.options)
        options, audio = piece.options, piece.inputs["audio"]
        assert isinstance(audio, Audio)
        heard, segments = self.hear(hear, piece)
        voice, fields = self.chosen(piece, fallback=audio if options.preserve_voice else None)
        spoken = revoice.speak(segments, self.say(speak, piece.seed, voice, options.to), audio.duration_s, speak.engine.rate_hz)
        told = {"text": heard.fields["text"], "language": options.to, "source_language": heard.fields["language"], **fields}
        return Result(told, {"audio": spoken})


def _paced(segments: Sequence[Mapping[str, Any]], total_s: float, preset: restyle.Preset) -> tuple[list[dict[str, Any]], float]:
    """Segments spoken at the preset's rate, with its pauses between them, and the whole's new length."""
    paced, at, before = [], 0.0, 0.0
    for segment in segments:
        at += max(0.0, segment["start"] - before) * preset.pauses
        length = (segment["end"] - segment["start"]) / preset.rate
        paced.append({"start": at, "end": at + length, "text": segment["text"]})
        at, before = at + length, segment["end"]
    return paced, at + max(0.0, total_s - before) * preset.pauses


def _coloured(audio: Audio, preset: restyle.Preset) -> Audio:
    """The audio higher and louder, its peaks held under full scale."""
    samples = np.asarray(audio.samples, np.float32)
    if preset.semitones:
        import librosa

        samples = librosa.effects.pitch_shift(samples, sr=audio.rate_hz, n_steps=preset.semitones)
    gain = 10 ** (preset.energy_db / 20)
    peak = float(np.abs(samples).max(initial=0.0))
    return Audio(samples * np.float32(min(gain, 0.98 / peak) if peak else gain), audio.rate_hz)
