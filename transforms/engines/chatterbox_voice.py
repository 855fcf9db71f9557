"""Recordings in another voice and mood by Chatterbox: converted sound to sound, or said again from their words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from transforms import chatterbox_takes, convert_voice, models, restyle, revoice, vad
from transforms.blocks import gather, resample
from transforms.chain import Stage, StageOptions, stage, stage_of
from transforms.chatterbox_model import RATE_HZ, lent
from transforms.chatterbox_takes import Take
from transforms.engines import cascade
from transforms.engines.chatterbox import (
    METHOD,
    WATERMARK,
    ChatterboxEngine,
    Sounding,
    Voice,
    check_voice,
    voice_identity,
)
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.provenance import PROVENANCE
from transforms.records import Audio, Item, Piece, Result
from transforms.speakers import MODEL, RATE_HZ as HEARD_AT_HZ

if TYPE_CHECKING:
    import numpy as np

ROW = "chatterbox-vc"
WINDOW = 2048
LEAST_S, CRUMB_S = 2.0, 0.5
"""The least that a part of a recording may have when memory does not suffice, and what is left over of one that is no part of its own."""


class ChatterboxConvert(Sounding):
    """The recording's speech tokens, decoded in the target's voice, in a voice that embed has stored, or in the model's own.

    Timing, words and delivery are the source's; nothing is recognized, so any language will do.
    """

    operation = "convert_voice"
    version = 2
    Options = convert_voice.Options
    max_s = 30.0
    cost_s = 4.0
    padded = "audio"

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return ROW, MODEL

    def weights(self, options: BaseOptions) -> str:
        assert isinstance(options, convert_voice.Options)
        return "+".join([*map(models.identity, self.models(options)), *voice_identity(options.voice)])

    def check(self, item: Item) -> None:
        options = item.options
        assert isinstance(options, convert_voice.Options)
        check_voice(options.voice)
        for name in ("stt", "tts", "language"):
            if getattr(options, name):
                raise WavemillError("bad_option", f"{name}: chatterbox converts sound to sound, without words", name)

    def voice(self, piece: Piece) -> Voice:
        target, told = piece.inputs.get("target"), {"method": METHOD, "provenance": PROVENANCE}
        if isinstance(target, Audio):
            return Voice(self._target(target), told)
        stored: str = piece.options.voice
        return Voice(self.stored(stored, "tts").gen, told) if stored else Voice(None, {})

    def sound(self, given: Sequence[tuple[Piece, Any]]) -> list[np.ndarray]:
        def convert(most_s: float) -> list[np.ndarray]:
            takes = [Take(_parts(_audio(piece), most_s), voice, piece.seed) for piece, voice in given]
            return chatterbox_takes.convert(self._models, ROW, takes)

        longest_s = max(_audio(piece).duration_s for piece, _ in given)
        return self._portion.halving(longest_s, "s of speech", LEAST_S, convert, pieces=len(given))

    def _target(self, target: Audio) -> Any:
        self.judge(target, "target")

        def make(model: Any, file: Any) -> Any:
            with lent(model, "ref_dict", None):
                model.set_target_voice(file)
                return model.ref_dict

        return self._models.heard(ROW, target, make)


class ChatterboxRestyle(cascade.Restyling):
    """Heard, and said again by chatterbox's clone in the source's own voice, or in the target's.

    Its rate is bent to the source's timing by a phase vocoder, as the model has none.
    """

    name = "chatterbox"
    version = 3
    rate_hz = RATE_HZ
    requires = ChatterboxEngine.requires
    extra = ChatterboxEngine.extra
    cost_s = 15.0

    class Options(restyle.Options):
        tts: Annotated[StageOptions, stage_of("clone", "chatterbox")] = Field({}, description="how it is spoken: tts.temperature=, ...")
        exaggeration: float = Field(0.5, ge=0.0, le=2.0, description="how much is felt, 0.5 being neutral")

    def stages(self, options: BaseOptions) -> Iterator[Stage]:
        assert isinstance(options, self.Options)
        yield stage("transcribe", options.stt, language=options.language)
        yield stage("clone", {"engine": self.name, **options.tts}, language=options.language, exaggeration=options.exaggeration)

    def check(self, item: Item) -> None:
        super().check(item)
        if item.options.voice:  # type: ignore[attr-defined]
            raise WavemillError("bad_option", "chatterbox speaks in the source's voice or the target's; leave voice out", "voice")

    def hear(self, stage: Stage, piece: Piece) -> tuple[Result, list[dict[str, Any]]]:
        audio = piece.inputs["audio"]
        assert isinstance(audio, Audio)
        heard = gather(resample([audio.samples], audio.rate_hz, HEARD_AT_HZ, 1), HEARD_AT_HZ, 1)
        return super().hear(stage, dataclasses.replace(piece, inputs={**piece.inputs, "audio": heard}))

    def chosen(self, piece: Piece) -> tuple[str, dict[str, Any]]:
        return "", {"method": METHOD, "watermark": WATERMARK, "provenance": PROVENANCE}

    def say(self, stage: Stage, piece: Piece, voice: str, language: str | None) -> revoice.Say:
        reference = piece.inputs.get("target", piece.inputs["audio"])
        options = stage.options.model_copy(update={"language": language, "sentence_pause": 0.12, "paragraph_pause": 0.0})
        spoken: dict[str, Audio] = {}

        def say(text: str, rate: float) -> Audio:
            if text not in spoken:
                spoken.clear()
                made = self.work(dataclasses.replace(stage, options=options), piece.seed, {"text": text, "reference": reference})
                spoken[text] = made.outputs["audio"]
            return stretched(spoken[text], rate)

        return say


def stretched(audio: Audio, rate: float) -> Audio:
    """The audio at another rate and the same pitch; what is shorter than the vocoder's window is left as it is."""
    if rate == 1 or audio.frames < WINDOW:
        return audio
    import librosa

    return Audio(librosa.effects.time_stretch(audio.samples, rate=rate, n_fft=WINDOW), audio.rate_hz)


def _audio(piece: Piece) -> Audio:
    audio = piece.inputs["audio"]
    assert isinstance(audio, Audio)
    return audio


def _parts(audio: Audio, most_s: float) -> list[Audio]:
    """A recording cut in silence, but for crumbs at its end."""
    import numpy as np

    points = [at for at in vad.cut_points(audio, most_s) if audio.frames - at > CRUMB_S * audio.rate_hz]
    return [Audio(part, audio.rate_hz) for part in np.split(audio.samples, points, axis=1)]
