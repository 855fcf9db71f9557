"""Speech by sherpa-onnx (Apache-2.0), from the folder of a model that the user has.

Since its version 2 it brings no espeak: where a folder holds no lexicon the phonemes are made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from transforms import synthesize
from transforms.engines import sherpa_models
from transforms.engines.sherpa import Sherpa
from transforms.errors import WavemillError
from transforms.records import Audio, Failure, Item, Outcome, Piece, Result

ESPEAK = {"en": "en-us", "fr": "fr-fr", "pt": "pt-br", "zh": "cmn"}
"""Languages that espeak knows under another code."""


class SherpaSpeech(Sherpa):
    """VITS, MeloTTS, Piper, Matcha, KittenTTS and Kokoro. A voice is the number of a speaker."""

    operation = "synthesize"
    deterministic = False
    rate_hz = 0
    max_chars = 400
    cost_s = 0.01
    gated = True

    class Options(synthesize.Options):
        model_dir: str = Field("", description="folder of the model, on every machine that runs this")
        kind: str = Field("piper", description=f"what the model is: {sherpa_models.kinds('synthesize')}")
        noise_scale: float | None = Field(None, ge=0, le=2, description="variation of the sound; sherpa's own when unset")
        noise_w: float | None = Field(None, ge=0, le=2, description="variation of the rhythm; sherpa's own when unset")

    def check(self, item: Item) -> None:
        options = item.options
        assert isinstance(options, self.Options)
        if options.voice and not options.voice.isdecimal():
            raise WavemillError("unknown_voice", f"no voice {options.voice!r}: sherpa's are numbers from 0", "voice")
        sherpa_models.find(sherpa_models.kind_of(self.operation, options.kind), options.model_dir)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._speak(str(piece.inputs["text"]), piece.options) for piece in pieces]

    def _speak(self, text: str, options: Any) -> Outcome:
        import numpy as np
        import sherpa_onnx

        if not any(symbol.isalnum() for symbol in text):
            return Failure("empty_text", f"nothing in {text[:40]!r} can be spoken", "text")
        speaker, wanted = self._open(options), sherpa_onnx.GenerationConfig()
        wanted.sid, wanted.speed = int(options.voice or 0), options.speed
        if wanted.sid >= max(1, speaker.num_speakers):
            return Failure("unknown_voice", f"this model's voices are 0 to {max(1, speaker.num_speakers) - 1}", "voice")
        said = _phonemes(text, options, speaker.lang)
        if said is not None:
            wanted.phoneme_codepoints = [[ord(symbol) for symbol in said]]
        made = speaker.generate(text, wanted)
        samples = np.clip(np.asarray(made.samples, np.float32), -1, 1)
        if not samples.size:
            return Failure("engine_error", f"sherpa said nothing of {text[:40]!r}")
        return Result(outputs={"audio": Audio(samples[None], made.sample_rate)})

    def _open(self, options: Any) -> Any:
        def make() -> Any:
            import sherpa_onnx

            tuning = {"noise_scale": options.noise_scale, "noise_scale_w": options.noise_w}
            config = sherpa_models.speaking(options.kind, options.model_dir, **tuning)
            return sherpa_models.built(sherpa_onnx.OfflineTts, config, options.model_dir)

        return self.opened((options.model_dir, options.kind, options.noise_scale, options.noise_w), make)


def _phonemes(text: str, options: Any, spoken: str) -> str | None:
    """What a model without a lexicon is to say, by whom its table row names; None where sherpa finds it in the lexicon."""
    from transforms import phonemes

    kind = sherpa_models.kind_of("synthesize", options.kind)
    if not kind.phonemes or "lexicon" in sherpa_models.find(kind, options.model_dir):
        return None
    if kind.phonemes == "misaki":
        return phonemes.phonemes(text, phonemes.letter(options.language, "a"))
    code = options.language or spoken or "en"
    return phonemes.ipa(text, ESPEAK.get(code, code))
