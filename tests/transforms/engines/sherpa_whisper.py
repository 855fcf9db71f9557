"""Whisper for sherpa-onnx from the weights that CTranslate2 has: two graphs, their metadata and the tokens.

In shapes N is sounds, T frames or tokens, C the longest text, S what the encoder makes of the frames, and W the width of a layer.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]
TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


def weights_of(file: Path) -> dict[str, np.ndarray]:
    """Every variable of a CTranslate2 file whose weights are floats, under its name there."""
    data = BytesIO(file.read_bytes())

    def number(format: str) -> int:
        (value,) = struct.unpack(f"<{format}", data.read(struct.calcsize(format)))
        return int(value)

    def name() -> str:
        return data.read(number("H")).decode().rstrip("\0")

    if (version := number("I")) != 6 or (spec := name()) != "WhisperSpec":
        raise ValueError(f"{file}: version {version} of {spec}")
    found, _revision = {}, number("I")
    for _ in range(number("I")):
        key, shape = name(), [number("I") for _ in range(number("B"))]
        kind = TYPES[number("B")]
        value = np.frombuffer(data.read(number("I")), kind).reshape(shape)
        found[key] = value.astype(np.float32) if kind == np.float16 else value
    return found | {name(): found[name()] for _ in range(number("I"))}


class Graph:
    """Nodes as they are asked for; an array among the inputs of one becomes a constant."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, op: str, *inputs: str | np.ndarray | list[int] | int, outputs: int = 1, **attributes: Any) -> Any:
        """The name of the node's output, or a list of their names."""
        from onnx import helper

        names = [f"{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(helper.make_node(op, [self.constant(value) for value in inputs], names, **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: str | np.ndarray | list[int] | int) -> str:
        from onnx import numpy_helper

        if isinstance(value, str):
            return value
        array = value if isinstance(value, np.ndarray) else np.array(value, np.int64)
        self.constants.append(numpy_helper.from_array(array, f"constant_{len(self.constants)}"))
        return str(self.constants[-1].name)

    def dense(self, x: str, name: str) -> str:
        return self("Add", self("MatMul", x, self.weights[f"{name}/weight"].T), self.weights[f"{name}/bias"])

    def norm(self, x: str, name: str) -> str:
        return self("LayerNormalization", x, self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"], epsilon=1e-5)

    def attend(self, q: str, k: str, v: str, heads: int, mask: str = "") -> str:
        """(N, T, W) of q, k and v -> (N, T, W); `mask` is what is added to (T of q, T of k)."""
        q, k, v = (self("Reshape", one, [0, 0, heads, -1]) for one in (q, k, v))
        q, v = (self("Transpose", one, perm=[0, 2, 1, 3]) for one in (q, v))
        width = self.weights["decoder/embeddings/weight"].shape[1] // heads
        scores = self("MatMul", self("Mul", q, np.float32(width**-0.5)[...]), self("Transpose", k, perm=[0, 2, 3, 1]))
        shares = self("Softmax", self("Add", scores, mask) if mask else scores, axis=-1)
        return self("Reshape", self("Transpose", self("MatMul", shares, v), perm=[0, 2, 1, 3]), [0, 0, -1])

    def feed(self, x: str, layer: str) -> str:
        inner = self("Gelu", self.dense(self.norm(x, f"{layer}/ffn/layer_norm"), f"{layer}/ffn/linear_0"))
        return self("Add", x, self.dense(inner, f"{layer}/ffn/linear_1"))

    def stacked(self, layers: list[str]) -> str:
        return self("ConcatFromSequence", self("SequenceConstruct", *layers), axis=0, new_axis=1)

    def model(self, inputs: Mapping[str, tuple[Any, ...]], outputs: Mapping[str, str]) -> Any:
        """`inputs` are the shapes of names; `outputs` are for each name what was made."""
        from onnx import TensorProto, helper

        integers = ("tokens", "offset")
        given = [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name in integers else TensorProto.FLOAT, shape)
            for name, shape in inputs.items()
        ]
        self.nodes += [helper.make_node("Identity", [made], [name]) for name, made in outputs.items()]
        told = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "whisper", given, told, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def layers(weights: Weights, side: str) -> list[str]:
    count = sum(name.startswith(f"{side}/layer_") and name.endswith("/self_attention/linear_0/weight") for name in weights)
    return [f"{side}/layer_{n}" for n in range(count)]


def encoder(weights: Weights) -> Any:
    """mel (N, mels, T) -> the keys and the values of each of the decoder's layers (layers, N, S, W), S = T / 2."""
    graph, x, heads = Graph(weights), "mel", int(weights["encoder/num_heads"])
    for name, stride in (("conv1", 1), ("conv2", 2)):
        weight, bias = (weights[f"encoder/{name}/{part}"] for part in ("weight", "bias"))
        x = graph("Gelu", graph("Conv", x, weight, bias, strides=[stride], pads=[1, 1]))
    x = graph("Transpose", x, perm=[0, 2, 1])
    places = graph("Slice", weights["encoder/position_encodings/encodings"], [0], graph("Shape", x, start=1, end=2), [0])
    x = graph("Add", x, places)
    for layer in layers(weights, "encoder"):
        own = f"{layer}/self_attention"
        q, k, v = graph("Split", graph.dense(graph.norm(x, f"{own}/layer_norm"), f"{own}/linear_0"), outputs=3, axis=-1, num_outputs=3)
        x = graph.feed(graph("Add", x, graph.dense(graph.attend(q, k, v, heads), f"{own}/linear_1")), layer)
    x = graph.norm(x, "encoder/layer_norm")
    crossed = [
        graph("Split", graph.dense(x, f"{layer}/attention/linear_1"), outputs=2, axis=-1, num_outputs=2)
        for layer in layers(weights, "decoder")
    ]
    keys, values = (graph.stacked([pair[n] for pair in crossed]) for n in (0, 1))
    mels = weights["encoder/conv1/weight"].shape[1]
    return graph.model({"mel": ("N", mels, "T")}, {"n_layer_cross_k": keys, "n_layer_cross_v": values})


def decoder(weights: Weights) -> Any:
    """tokens (N, T) behind `offset` others, whose keys and values are in the caches (layers, N, C, W) -> logits (N, T, tokens)."""
    graph, heads = Graph(weights), int(weights["decoder/num_heads"])
    table, places = graph.constant(weights["decoder/embeddings/weight"]), weights["decoder/position_encodings/encodings"]
    count, (longest, width) = len(layers(weights, "decoder")), places.shape
    end = graph("Add", "offset", graph("Shape", "tokens", start=1, end=2))
    x = graph("Add", graph("Gather", table, "tokens"), graph("Slice", places, "offset", end, [0]))
    every = np.arange(longest)
    later = graph("Greater", every, graph("Unsqueeze", graph("Slice", every, "offset", end), [1]))
    mask = graph("Where", later, np.float32(-np.inf)[...], np.float32(0)[...])
    kept: dict[str, list[str]] = {"k": [], "v": []}
    for n, layer in enumerate(layers(weights, "decoder")):
        own, other = f"{layer}/self_attention", f"{layer}/attention"
        q, *made = graph("Split", graph.dense(graph.norm(x, f"{own}/layer_norm"), f"{own}/linear_0"), outputs=3, axis=-1, num_outputs=3)
        for which, new in zip("kv", made, strict=True):
            cache = graph("Gather", f"in_n_layer_self_{which}_cache", n)
            before, after = graph("Slice", cache, [0], "offset", [1]), graph("Slice", cache, end, [longest], [1])
            kept[which].append(graph("Concat", before, new, after, axis=1))
        x = graph("Add", x, graph.dense(graph.attend(q, kept["k"][n], kept["v"][n], heads, mask), f"{own}/linear_1"))
        q = graph.dense(graph.norm(x, f"{other}/layer_norm"), f"{other}/linear_0")
        crossed = graph.attend(q, *(graph("Gather", f"n_layer_cross_{which}", n) for which in "kv"), heads)
        x = graph.feed(graph("Add", x, graph.dense(crossed, f"{other}/linear_2")), layer)
    logits = graph("MatMul", graph.norm(x, "decoder/layer_norm"), graph("Transpose", table, perm=[1, 0]))
    inputs: dict[str, tuple[Any, ...]] = {"tokens": ("N", "T")}
    inputs |= {f"in_n_layer_self_{which}_cache": (count, "N", longest, width) for which in "kv"}
    inputs |= {f"n_layer_cross_{which}": (count, "N", "S", width) for which in "kv"} | {"offset": (1,)}
    outputs = {f"out_n_layer_self_{which}_cache": graph.stacked(kept[which]) for which in "kv"}
    return graph.model(inputs, {"logits": logits} | outputs)


def tokens(folder: Path) -> str:
    """What a text may hold: the bytes of each token in base 64, and its number."""
    known = json.loads((folder / "tokenizer.json").read_text())
    special = {token["id"] for token in known["added_tokens"]}
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    bytes_of = {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(sorted({*range(256)} - {*plain}))}
    lines = [(bytes(bytes_of[sign] for sign in token), id) for token, id in known["model"]["vocab"].items() if id not in special]
    return "".join(f"{base64.b64encode(token).decode()} {id}\n" for token, id in lines)


def metadata(weights: Weights, folder: Path) -> dict[str, Any]:
    """What sherpa-onnx reads of an English model."""
    known = json.loads((folder / "tokenizer.json").read_text())
    special = {token["content"].strip("<|>"): token["id"] for token in known["added_tokens"]}
    start, (longest, width) = special["startoftranscript"], weights["decoder/position_encodings/encodings"].shape
    told = {"model_type": "whisper-tiny.en", "is_multilingual": 0, "sot": start, "sot_sequence": start, "eot": special["endoftext"]}
    told |= {"n_mels": weights["encoder/conv1/weight"].shape[1], "n_vocab": weights["decoder/embeddings/weight"].shape[0]}
    told |= {"n_text_ctx": longest, "n_text_state": width, "n_text_layer": len(layers(weights, "decoder"))}
    told |= {"transcribe": special["transcribe"], "translate": special["translate"], "no_timestamps": special["notimestamps"]}
    return told | {"no_speech": special["nocaptions"], "blank_id": known["model"]["vocab"]["Ġ"]}
