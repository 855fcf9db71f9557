"""Transcripts by sherpa-onnx, from the folder of a model that the user has: SenseVoice, Paraformer or Whisper.

None of them times long audio well by itself, so each stretch of speech is heard alone and is one segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from transforms.engine import Place
from transforms.engines import diarizing, sherpa_models
from transforms.engines.sherpa import Sherpa
from transforms.errors import WavemillError, near
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Item, Outcome, Piece, Result

LONGEST_S, SILENCE_S = 18.0, 10.0
"""Sherpa's Whisper hears 29.5 s at once and writes 6 tokens at most for each second it is given, which is less than fast
speech has. So a stretch is no longer than the one, its padding aside, and has the other behind it."""
AT_ONCE = 8


class SherpaTranscript(Sherpa):
    operation = "transcribe"
    version = 2
    rate_hz = 16000
    max_s = 600.0
    cost_s = 0.1

    class Options(diarizing.Options):
        model_dir: str = Field("", description="folder of the model, on every machine that runs this")
        kind: str = Field("sensevoice", description=f"what the model is: {sherpa_models.kinds('transcribe')}")

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return diarizing.models_for(options)

    def weights(self, options: BaseOptions) -> str:
        return "+".join([super().weights(options), *diarizing.identity(options)])

    def load(self, place: Place) -> None:
        super().load(place)
        self._diarizer = diarizing.Diarizer(place)

    def close(self) -> None:
        super().close()
        self._diarizer.close()

    def check(self, item: Item) -> None:
        options = item.options
        assert isinstance(options, self.Options)
        kind = sherpa_models.kind_of(self.operation, options.kind)
        if options.timestamps:
            raise WavemillError("bad_option", "timestamps: the engine sherpa times stretches of speech, not words", "timestamps")
        if options.task == "translate" and kind.family != "whisper":
            raise WavemillError("bad_option", f"task: {options.kind} does not translate; whisper does", "task")
        files = sherpa_models.find(kind, options.model_dir)
        if kind.family == "whisper":
            _check_whisper(options, files["encoder"])
        diarizing.check(options)

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._outcome(piece.inputs["audio"], piece.options) for piece in pieces]

    def _outcome(self, audio: Any, options: Any) -> Outcome:
        assert isinstance(audio, Audio)
        return self._diarizer.tell(self._hear(audio, options), audio, options)

    def _hear(self, audio: Audio, options: Any) -> Result:
        import numpy as np

        from transforms import vad
        from transforms.engines.whisper_windows import with_pads
        from transforms.segments import glue_of, join_texts

        recognizer, segments, languages = self._open(options), [], []
        whisper = options.kind == "whisper"
        silence = np.zeros(round(SILENCE_S * audio.rate_hz) if whisper else 0, np.float32)
        spans = vad.find_speech(audio, max_speech_s=LONGEST_S)
        padded = with_pads(spans, audio.frames)
        for first in range(0, len(spans), AT_ONCE):
            group = slice(first, first + AT_ONCE)
            streams = [recognizer.create_stream() for _ in spans[group]]
            for stream, (start, end) in zip(streams, padded[group], strict=True):
                stream.accept_waveform(audio.rate_hz, np.concatenate([audio.samples[0, start:end], silence]))
            recognizer.decode_streams(streams)
            for stream, (start, end) in zip(streams, spans[group], strict=True):
                text = stream.result.text.strip()
                if text:
                    segments.append({"start": start / audio.rate_hz, "end": end / audio.rate_hz, "text": text})
                    languages.append(stream.result.lang.strip("<|>") or ("en" if whisper else ""))  # English models name none
        language = options.language or max(languages, key=languages.count, default="") or None
        said = join_texts((segment["text"] for segment in segments), glue_of("en" if options.task == "translate" else language))
        speech = [(start / audio.rate_hz, end / audio.rate_hz) for start, end in spans]
        return Result({"text": said, "language": language, "duration_s": audio.duration_s, "segments": segments, "speech": speech})

    def _open(self, options: Any) -> Any:
        def make() -> Any:
            try:
                return hearing(options.kind, options.model_dir, options.language, options.task)
            except (AssertionError, RuntimeError, ValueError) as error:
                raise WavemillError("weights_mismatch", f"{options.model_dir}: {error}", "model_dir") from error

        return self.opened((options.model_dir, options.kind, options.language, options.task), make)


def _check_whisper(options: Any, encoder: Path) -> None:
    """Of a language that its Whisper does not know sherpa ends the process; to an English one language and task are nothing."""
    told = sherpa_models.metadata(encoder)
    if "is_multilingual" not in told:
        raise WavemillError("weights_mismatch", f"{encoder} lacks the metadata that sherpa-onnx gives a Whisper", "model_dir")
    multilingual = told["is_multilingual"] != "0"
    hears = told.get("all_language_codes", "").split(",") if multilingual else ["en"]
    if options.language and options.language not in hears:
        detail = f"the Whisper in {options.model_dir} does not hear {options.language!r}, but {', '.join(hears)}"
        raise WavemillError("unsupported_language", detail + near(options.language, hears), "language")
    if options.task == "translate" and not multilingual:
        raise WavemillError("bad_option", f"task: the Whisper in {options.model_dir} hears English only", "task")


def hearing(name: str, model_dir: str, language: str | None, task: str) -> Any:
    """A recognizer of that kind; sherpa's own factories check nothing but that files are there."""
    import sherpa_onnx

    kind = sherpa_models.kind_of("transcribe", name)
    files = {name: str(path) for name, path in sherpa_models.find(kind, model_dir).items()}
    tunings: dict[str, dict[str, Any]] = {
        "sense_voice": {"language": language or "auto", "use_itn": True},
        "whisper": {"language": language or "", "task": task, "tail_paddings": 1},  # the silence is ours
    }
    tuning = tunings.get(kind.family, {})
    make = getattr(sherpa_onnx.OfflineRecognizer, f"from_{kind.family}")
    return make(**files, **tuning, num_threads=1)
