"""Who speaks, for the engines that transcribe: by the built-in speaker encoder, or by models of sherpa-onnx that the user has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import Field

from transforms import models, transcribe
from transforms.engine import Place
from transforms.engines import sherpa_models
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Outcome, Result

if TYPE_CHECKING:
    import numpy as np

    from transforms.diarize import Turn

ENCODER = "speaker-encoder"
KIND = "pyannote"
VOICE_S = 30.0
"""Seconds of a speaker, the longest turns first, by which sherpa's embedding knows the voice in the other pieces."""


class Options(transcribe.Options):
    """Options of the transcribe engines that can say who speaks."""

    diarize: bool = Field(False, description="say who speaks: segments get a speaker, SPEAKER_00 the first that is heard")
    speakers: int | None = Field(None, ge=1, le=20, description="how many speak, for diarize; found out when unset")
    diarize_models: str = Field(
        "",
        description="folder of sherpa-onnx models for diarize, on every machine that runs this: the segmentation of"
        f" {sherpa_models.kinds('diarize')}, model.onnx, and a speaker embedding, 3dspeaker*, wespeaker* or nemo*.onnx;"
        " the built-in encoder when unset",
    )


def models_for(options: BaseOptions) -> tuple[str, ...]:
    """Rows of the weights table that tell these options' speakers apart."""
    assert isinstance(options, Options)
    return (ENCODER,) if options.diarize and not options.diarize_models else ()


def identity(options: BaseOptions) -> list[str]:
    """What identifies that which tells speakers apart; nothing where nobody asked. Raises as `sherpa_models.find`."""
    assert isinstance(options, Options)
    if options.diarize and options.diarize_models:
        return [sherpa_models.identity(KIND, "diarize", options.diarize_models, "diarize_models")]
    return [models.identity(row) for row in models_for(options)]


def check(options: BaseOptions) -> None:
    """Raises `bad_option` for a folder that nobody uses, `model_unavailable` naming the extra, and `model_missing`."""
    assert isinstance(options, Options)
    if not options.diarize_models:
        return
    if not options.diarize:
        raise WavemillError("bad_option", "diarize_models: these models are for diarize, which is off", "diarize_models")
    sherpa_models.find(sherpa_models.kind_of("diarize", KIND), options.diarize_models, "diarize_models")
    if find_spec("sherpa_onnx") is None:
        raise WavemillError("model_unavailable", "diarize_models are run by sherpa-onnx: pip install 'wavemill[sherpa]'", "diarize_models")


class Diarizer:
    """What tells speakers apart at a place, each model opened when it is first used. For several threads at once."""

    def __init__(self, place: Place) -> None:
        self._place, self._lock = place, threading.Lock()
        self._opened: dict[Any, Any] = {}

    def close(self) -> None:
        self._opened.clear()

    def tell(self, heard: Outcome, audio: Audio, options: Any) -> Outcome:
        """The result with what `transcribe.join` needs to name speakers; when that cannot be had, with the reason, for the transcript stands.

        `speech`, seconds of the piece, is taken from the result where it is. Raises `model_missing` and `weights_mismatch`.
        """
        if not options.diarize or not isinstance(heard, Result):
            return heard
        try:
            more = self._by_sherpa(audio, options) if options.diarize_models else self._by_encoder(heard, audio)
        except WavemillError:
            raise
        except Exception as error:  # a library may raise anything
            more = transcribe.untold(error)
        return Result({**heard.fields, **more}, heard.outputs)

    def _by_encoder(self, heard: Result, audio: Audio) -> dict[str, Any]:
        from transforms import diarize, vad

        speech = heard.fields.get("speech") or [(a / audio.rate_hz, b / audio.rate_hz) for a, b in vad.find_speech(audio)]
        spans = [(round(a * audio.rate_hz), round(b * audio.rate_hz)) for a, b in speech]
        return {"speech": speech, "voices": diarize.listen(self._encoder(), audio, spans)}

    def _by_sherpa(self, audio: Audio, options: Any) -> dict[str, Any]:
        turns, speakers = self._sherpa(options.diarize_models, options.speakers).tell(audio)
        return {"turns": turns, "speakers": speakers}

    def _encoder(self) -> Any:
        from transforms.speakers import SpeakerEncoder

        return self._once(ENCODER, lambda: SpeakerEncoder(self._place))

    def _sherpa(self, folder: str, speakers: int | None) -> Any:
        return self._once((folder, speakers), lambda: SherpaDiarizer(folder, speakers))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key not in self._opened:
                self._opened[key] = make()
            return self._opened[key]


class SherpaDiarizer:
    """sherpa-onnx's diarization of one piece, for several threads at once. Raises `model_missing` and `weights_mismatch`."""

    def __init__(self, folder: str, speakers: int | None) -> None:
        import sherpa_onnx

        config = sherpa_models.telling_apart(folder, speakers or -1)
        self._diarization = sherpa_models.built(sherpa_onnx.OfflineSpeakerDiarization, config, folder, "diarize_models")
        self._embedding = sherpa_models.built(sherpa_onnx.SpeakerEmbeddingExtractor, config.embedding, folder, "diarize_models")

    def tell(self, audio: Audio) -> tuple[list[Turn], list[np.ndarray]]:
        """Turns of mono audio at 16 kHz, seconds, whose speakers count from 0, and the voice of each of these."""
        import numpy as np

        from transforms.diarize import Turn

        found = self._diarization.process(np.ascontiguousarray(audio.samples[0], np.float32)).sort_by_start_time()
        numbers = {speaker: number for number, speaker in enumerate(sorted({turn.speaker for turn in found}))}
        turns = [Turn(turn.start, turn.end, numbers[turn.speaker]) for turn in found]
        return turns, [self._voice(audio, [turn for turn in turns if turn.speaker == number]) for number in numbers.values()]

    def _voice(self, audio: Audio, turns: list[Turn]) -> np.ndarray:
        import numpy as np

        stream, left = self._embedding.create_stream(), round(VOICE_S * audio.rate_hz)
        for turn in sorted(turns, key=lambda turn: turn.start - turn.end):
            start, end = round(turn.start * audio.rate_hz), round(turn.end * audio.rate_hz)
            stream.accept_waveform(audio.rate_hz, np.ascontiguousarray(audio.samples[0, start : min(end, start + left)], np.float32))
            left -= end - start
            if left <= 0:
                break
        stream.input_finished()
        return np.asarray(self._embedding.compute(stream), np.float64)
