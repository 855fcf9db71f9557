"""Folders of sherpa-onnx models for tests: of empty files, of the real Piper, Kokoro and Whisper weights, and of toys that hear."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.transforms.engines import sherpa_whisper
from transforms import models, phonemes
from transforms.engines.sherpa_models import KINDS
from transforms.pull import pull
from transforms.settings import Settings

NAMES = {
    "vits": ["model.onnx", "lexicon.txt", "tokens.txt"],
    "melotts": ["model.onnx", "lexicon.txt", "tokens.txt", "date.fst", "number.fst"],
    "piper": ["en_US-lessac-medium.onnx", "tokens.txt"],
    "matcha": ["model-steps-3.onnx", "vocos-22khz-univ.onnx", "tokens.txt"],
    "kitten": ["model.fp16.onnx", "voices.bin", "tokens.txt"],
    "kokoro": ["model.int8.onnx", "voices.bin", "tokens.txt"],
    "sensevoice": ["model.int8.onnx", "tokens.txt"],
    "paraformer": ["model.int8.onnx", "tokens.txt"],
    "whisper": ["tiny-encoder.int8.onnx", "tiny-decoder.int8.onnx", "tiny-tokens.txt"],
    "pyannote": ["model.onnx", "3dspeaker_speech_eres2net_base_sv_zh-cn_3dspeaker_16k.onnx"],
}
"""Files as their publishers name them."""
assert set(NAMES) == set(KINDS)


def fake(kind: str, folder: Path) -> Path:
    """The right files with a line of nothing in each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES[kind]:
        (folder / name).write_text(f"{name}\n")
    return folder


def _save(model: Any, metadata: Mapping[str, Any], path: Path) -> None:
    import onnx

    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=str(value))
    onnx.save(model, str(path))


def piper(folder: Path) -> Path:
    """The real voice joe, with the tokens and metadata that sherpa wants, from the voice's own JSON."""
    import onnx

    pull("piper-en_US-joe-medium", Settings())
    source = models.folder("piper-en_US-joe-medium", Settings().models_dir)
    voice = json.loads((source / "en_US-joe-medium.onnx.json").read_text())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.txt").write_text("".join(f"{symbol} {ids[0]}\n" for symbol, ids in voice["phoneme_id_map"].items()))
    metadata = {"model_type": "vits", "comment": "piper", "language": "English", "voice": voice["espeak"]["voice"], "has_espeak": 1}
    metadata |= {"n_speakers": voice["num_speakers"], "sample_rate": voice["audio"]["sample_rate"]}
    _save(onnx.load(str(source / "en_US-joe-medium.onnx")), metadata, folder / "en_US-joe-medium.onnx")
    return folder


def kokoro(folder: Path, names: Sequence[str] = ("af_bella", "am_adam")) -> Path:
    """The real Kokoro in 8 bits with some of its voices."""
    import onnx

    for id in ("kokoro-int8", "kokoro-voices"):
        pull(id, Settings())
    source, voices = (models.folder(id, Settings().models_dir) for id in ("kokoro-int8", "kokoro-voices"))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.txt").write_text("".join(f"{symbol} {id}\n" for symbol, id in phonemes.ALPHABET.items()))
    (folder / "voices.bin").write_bytes(b"".join((voices / f"{name}.bin").read_bytes() for name in names))
    metadata = {"model_type": "kokoro", "language": "English", "has_espeak": 1, "sample_rate": 24000, "version": 1, "voice": "en-us"}
    metadata |= {"style_dim": "510,1,256", "n_speakers": len(names), "speaker_names": ",".join(names)}
    _save(onnx.load(str(source / "kokoro.onnx")), metadata, folder / "model.int8.onnx")
    return folder


def whisper(folder: Path) -> Path:
    """The real Whisper tiny.en, from the weights that CTranslate2 has."""
    pull("whisper-tiny.en", Settings())
    source = models.folder("whisper-tiny.en", Settings().models_dir)
    weights = sherpa_whisper.weights_of(source / "model.bin")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.en-tokens.txt").write_text(sherpa_whisper.tokens(source))
    _save(sherpa_whisper.encoder(weights), sherpa_whisper.metadata(weights, source), folder / "tiny.en-encoder.onnx")
    _save(sherpa_whisper.decoder(weights), {}, folder / "tiny.en-decoder.onnx")
    return folder


def hearing_toy(folder: Path) -> Path:
    """A SenseVoice of no weights: it says `hello` in English of whatever it hears."""
    from onnx import TensorProto, helper, numpy_helper

    tokens = ["<unk>", "<s>", "▁hel", "lo", "<|en|>", "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>"]
    said = [4, 5, 6, 7, 2, 3]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.txt").write_text("".join(f"{token} {id}\n" for id, token in enumerate(tokens)))
    logits = np.eye(len(tokens), dtype=np.float32)[said][None] * 9
    shape = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "T", len(tokens)])]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", 560])]
    given += [helper.make_tensor_value_info(name, TensorProto.INT32, ["N"]) for name in ("x_length", "language", "text_norm")]
    blank = np.eye(len(tokens), dtype=np.float32)[:1][None]
    numbers = {"one": [1], "vocabulary": [len(tokens)], "fewer": [len(said) - 4]}  # four more come out than frames go in
    constants = [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in numbers.items()]
    constants += [numpy_helper.from_array(logits, "said"), numpy_helper.from_array(blank, "blank")]
    nodes = [
        helper.make_node("Shape", ["x"], ["batch"], start=0, end=1),
        helper.make_node("Shape", ["x"], ["frames"], start=1, end=2),
        helper.make_node("Sub", ["frames", "fewer"], ["rest"]),
        helper.make_node("Concat", ["batch", "one", "one"], ["times"], axis=0),
        helper.make_node("Tile", ["said", "times"], ["start"]),
        helper.make_node("Concat", ["batch", "rest", "vocabulary"], ["shape"], axis=0),
        helper.make_node("Expand", ["blank", "shape"], ["end"]),
        helper.make_node("Concat", ["start", "end"], ["logits"], axis=1),
    ]
    graph = helper.make_graph(nodes, "toy", given, shape, constants)
    metadata: dict[str, Any] = {"model_type": "sense_voice_ctc", "comment": "toy", "vocab_size": len(tokens), "normalize_samples": 0}
    metadata |= {"lfr_window_size": 7, "lfr_window_shift": 6, "with_itn": 14, "without_itn": 15, "lang_auto": 0, "lang_zh": 3}
    metadata |= {"lang_en": 4, "lang_yue": 7, "lang_ja": 11, "lang_ko": 12}
    metadata |= {name: ",".join(["0.5"] * 560) for name in ("neg_mean", "inv_stddev")}
    _save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), metadata, folder / "model.onnx")
    return folder


def telling_toy(folder: Path) -> Path:
    """A pyannote of no weights, to whom a high sound is one speaker and a low one another, and an embedding that is the mean spectrum."""
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    frames, classes = {"kernel_shape": [991], "strides": [270]}, 9 * np.eye(7, dtype=np.float32)
    constants = [numpy_helper.from_array(classes[n][None, None], name) for n, name in enumerate(("nobody", "low", "high"))]
    constants += [numpy_helper.from_array(np.array([[[0.005]]], np.float32), "quiet")]
    constants += [numpy_helper.from_array(np.array([[[-1, 1]]], np.float32), "step")]
    nodes = [
        helper.make_node("Conv", ["x", "step"], ["steps"], pads=[0, 1]),
        helper.make_node("Abs", ["x"], ["size"]),
        helper.make_node("Abs", ["steps"], ["change"]),
        helper.make_node("AveragePool", ["size"], ["sizes"], **frames),
        helper.make_node("AveragePool", ["change"], ["changes"], **frames),
        helper.make_node("Transpose", ["sizes"], ["loudness"], perm=[0, 2, 1]),
        helper.make_node("Transpose", ["changes"], ["movement"], perm=[0, 2, 1]),
        helper.make_node("Greater", ["loudness", "quiet"], ["sounds"]),
        helper.make_node("Greater", ["movement", "loudness"], ["moves"]),
        helper.make_node("Where", ["moves", "high", "low"], ["who"]),
        helper.make_node("Where", ["sounds", "who", "nobody"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, "T"])]
    graph = helper.make_graph(nodes, "toy", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "F", 7])], constants)
    metadata: dict[str, Any] = {"num_speakers": 3, "powerset_max_classes": 2, "num_classes": 7, "sample_rate": 16000, "window_size": 160000}
    metadata |= {"receptive_field_size": 991, "receptive_field_shift": 270}
    _save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), metadata, folder / "model.onnx")
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("ReduceMean", ["mean"], ["level"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["mean", "level"], ["embedding"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", 80])]
    graph = helper.make_graph(nodes, "toy", given, [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 80])])
    metadata = {"framework": "3d-speaker", "language": "English", "url": "", "comment": "toy", "sample_rate": 16000, "output_dim": 80}
    metadata |= {"normalize_samples": 1, "feature_normalize_type": ""}
    _save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), metadata, folder / "3dspeaker_toy.onnx")
    return folder
