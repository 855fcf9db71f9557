"""Piper: small VITS voices, many times cheaper than Kokoro, made repeatable by drawing their noise from the piece's seed.

The phonemes come from piper-tts, which is GPL-3.0: it is imported when a voice is loaded and nowhere else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field

from transforms import models, synthesize, voices
from transforms.engine import Engine, Place
from transforms.engines.sessions import open_session, provider
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Failure, Item, Outcome, Piece, Result

if TYPE_CHECKING:
    import numpy as np

DEFAULT_VOICE = "en_US-joe-medium"
NOISE = "noise_"
NOISE_PER_ID = 192 * 8
"""Noise drawn for each phoneme id: the model's 192 channels for 8 frames of 256 samples, about three times the usual."""


class PiperOptions(synthesize.Options):
    noise_scale: float | None = Field(None, ge=0, le=2, description="variation of the sound; the voice's own when unset")
    noise_w: float | None = Field(None, ge=0, le=2, description="variation of the rhythm; the voice's own when unset")


class _Voice(NamedTuple):
    speaker: Any
    session: Any


class Piper(Engine):
    """Piper voices, each a row of the weights table."""

    name = "piper"
    operation = "synthesize"
    version = 1
    Options = PiperOptions
    requires = ("onnxruntime", "piper")
    languages = tuple(sorted({voice.language.partition("-")[0] for voice in voices.stock("piper").values()}))
    rate_hz = 22050
    max_chars = 400
    cost_s = 0.005
    gated = True

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (f"piper-{_voice(options)}",)

    def language(self, options: BaseOptions) -> str:
        return voices.stock(self.name)[_voice(options)].language

    def check(self, item: Item) -> None:
        _voice(item.options)

    def load(self, place: Place) -> None:
        provider(place)
        try:
            import piper  # noqa: F401  a broken installation shows here, before any work
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"piper-tts: {error}") from error
        self._place, self._lock = place, threading.Lock()
        self._voices: dict[str, _Voice] = {}

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._speak(str(piece.inputs["text"]), piece.options, piece.seed) for piece in pieces]

    def close(self) -> None:
        self._voices.clear()

    def _speak(self, text: str, options: PiperOptions, seed: int) -> Outcome:
        import numpy as np

        speaker, session = self._open(_voice(options))
        config, noise = speaker.config, np.random.Generator(np.random.Philox(seed))
        scale = config.noise_scale if options.noise_scale is None else options.noise_scale
        rhythm = config.noise_w_scale if options.noise_w is None else options.noise_w
        length = config.length_scale / options.speed
        silence = np.zeros(round(options.sentence_pause * config.sample_rate), np.float32)
        heard: list[np.ndarray] = []
        for sentence in speaker.phonemize(text):
            if not any(symbol.isalpha() for symbol in sentence):
                continue
            ids = speaker.phonemes_to_ids(sentence)
            inputs = {
                "input": np.array([ids], np.int64),
                "input_lengths": np.array([len(ids)], np.int64),
                "scales": np.array([scale, length, rhythm], np.float32),
            }
            drawn = max(1, round(NOISE_PER_ID * len(ids) * length))
            for given in session.get_inputs():
                if given.name.startswith(NOISE):
                    inputs[given.name] = noise.standard_normal(drawn, dtype=np.float32)
            audio = np.asarray(session.run(None, inputs)[0], np.float32).reshape(-1)
            heard += [silence, np.clip(audio, -1, 1)]
        if not heard:
            return Failure("empty_text", f"nothing in {text[:40]!r} can be spoken", "text")
        return Result(outputs={"audio": Audio(np.concatenate(heard[1:])[None], config.sample_rate)})

    def _open(self, voice: str) -> _Voice:
        with self._lock:
            if voice not in self._voices:
                row = models.known(f"piper-{voice}")
                assert row.derive is not None
                folder = models.folder(row.id, self._place.models_dir)
                from piper.config import PiperConfig
                from piper.voice import PiperVoice

                session = open_session(folder / row.derive.file, self._place)
                config = PiperConfig.from_dict(json.loads((folder / f"{voice}.onnx.json").read_text()))
                self._voices[voice] = _Voice(PiperVoice(session, config), session)
            return self._voices[voice]


def _voice(options: BaseOptions) -> str:
    """The voice of the options. Raises `unknown_voice`, `bad_option` for a mix, `unsupported_language`."""
    assert isinstance(options, PiperOptions)
    stock = voices.stock("piper")
    language = (options.language or "").lower().replace("_", "-")
    speakers = [id for id, voice in stock.items() if f"{voice.language}-".startswith(f"{language}-") or not language]
    if not speakers:
        spoken = ", ".join(sorted({voice.language for voice in stock.values()}))
        raise WavemillError("unsupported_language", f"Piper's voices speak {spoken}, not {options.language!r}", "language")
    if not options.voice:
        return DEFAULT_VOICE if DEFAULT_VOICE in speakers else speakers[0]
    mix = voices.resolve("piper", options.voice)
    if len(mix) > 1:
        raise WavemillError("bad_option", "voice: Piper's voices cannot be mixed; Kokoro's can", "voice")
    if mix[0][0] not in speakers:
        raise WavemillError("unsupported_language", f"{mix[0][0]} speaks {stock[mix[0][0]].language}, not {options.language!r}", "language")
    return mix[0][0]


def seed_graph(source: Path, target: Path) -> None:
    """Write the model again with an input `noise_N` in place of its Nth random operator, so that the caller draws.

    The input is a row of standard normal numbers of any length, taken from its start and over again when it runs out.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    graph = model.graph
    constants = {"wavemill_0": 0, "wavemill_1": 1}
    graph.initializer.extend(helper.make_tensor(name, TensorProto.INT64, [], [value]) for name, value in constants.items())
    nodes = []
    for node in graph.node:
        if node.op_type != "RandomNormalLike":
            nodes.append(node)
            continue
        noise = f"{NOISE}{sum(given.name.startswith(NOISE) for given in graph.input)}"
        graph.input.append(helper.make_tensor_value_info(noise, TensorProto.FLOAT, [f"{noise}_length"]))
        nodes += [
            helper.make_node("Shape", [node.input[0]], [f"{noise}/shape"]),
            helper.make_node("ReduceProd", [f"{noise}/shape"], [f"{noise}/count"], keepdims=0),
            helper.make_node("Range", ["wavemill_0", f"{noise}/count", "wavemill_1"], [f"{noise}/range"]),
            helper.make_node("Size", [noise], [f"{noise}/size"]),
            helper.make_node("Mod", [f"{noise}/range", f"{noise}/size"], [f"{noise}/index"]),
            helper.make_node("Gather", [noise, f"{noise}/index"], [f"{noise}/taken"]),
            helper.make_node("Reshape", [f"{noise}/taken", f"{noise}/shape"], list(node.output)),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))
