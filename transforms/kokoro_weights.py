"""Kokoro's weights out of its 8-bit graph: float32 tensors by the names that its torch model has for them, without torch.

Nothing is written: reading the graph anew takes less time than a file four times its size would. A quantized tensor is
(q - zero point) * scale; scale and zero point are found by following the graph, because tensors of equal value share one
name there, mostly not their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

NAMED = re.compile(r"\.(bias|weight|gamma|beta|alpha[12]\.\d)$")


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of the graph in a file, float32, in torch's layouts and without weight normalization."""
    import onnx

    found: dict[str, np.ndarray] = {}
    for name, tensor in _Graph(onnx.load(str(path)).graph).tensors():
        found.setdefault(name, np.require(tensor, np.float32, ["C", "W"]))
    return found


class _Graph:
    def __init__(self, graph: Any) -> None:
        self.nodes = graph.node
        self.initializers = {made.name: made for made in graph.initializer}
        self.makers = {output: node for node in graph.node for output in node.output}
        self.takers = {given: node for node in reversed(graph.node) for given in node.input}

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        for name in self.initializers:
            if NAMED.search(name) and ".stft." not in name:
                yield _renamed(name), self.value(name)
        seen: set[tuple[str, str]] = set()
        for node in self.nodes:
            module = _module(node.name)
            if (module, node.op_type) in seen:  # one of Albert's further layers
                continue
            seen.add((module, node.op_type))
            if node.op_type == "ConvInteger":
                yield f"{module}.weight", self.integer_weight(node)
            elif node.op_type == "MatMulInteger":
                yield f"{module}.weight", self.integer_weight(node).T
            elif node.op_type == "DynamicQuantizeLSTM":
                yield from self.lstm(module, node)
            elif node.op_type == "DequantizeLinear":  # of rows that a Gather took
                table = self.makers[node.input[0]].input[0]
                yield _renamed(table.removesuffix("_quantized")), self.dequantized(table, node.input[1], node.input[2])
            elif node.op_type in ("Conv", "ConvTranspose", "MatMul") and node.input[1] in self.initializers and "/stft/" not in node.name:
                weight = self.value(node.input[1])
                yield f"{module}.weight", weight.T if node.op_type == "MatMul" else weight

    def value(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self.initializers[name]))

    def dequantized(self, weight: str, scale: str, zero: str) -> np.ndarray:
        made: np.ndarray = (self.value(weight).astype(np.float32) - self.value(zero).astype(np.float32)) * self.value(scale)
        return made

    def integer_weight(self, node: Any) -> np.ndarray:
        """The weight behind an integer product: its scale is multiplied with the input's, and that with the product."""
        product = self.takers[node.output[0]]
        while product.op_type != "Mul":  # a bias in integers and a cast lie between
            product = self.takers[product.output[0]]
        scales = next(self.makers[name] for name in product.input if getattr(self.makers.get(name), "op_type", "") == "Mul")
        (scale,) = (name for name in scales.input if name in self.initializers)
        return self.dequantized(node.input[1], scale, node.input[3])

    def lstm(self, module: str, node: Any) -> Iterator[tuple[str, np.ndarray]]:
        """Both directions of one layer. A scale is of a direction; the gates are input, output, forget, cell."""
        bias = self.value(node.input[3])
        for kind, at in (("ih", 8), ("hh", 10)):
            scale, zero = self.value(node.input[at]), self.value(node.input[at + 1]).astype(np.float32)
            packed = self.value(node.input[1 if kind == "ih" else 2]).astype(np.float32)
            part = slice(0, bias.shape[1] // 2) if kind == "ih" else slice(bias.shape[1] // 2, None)
            for direction, suffix in enumerate(("", "_reverse")):
                weight = (packed[direction] - zero[direction]) * scale[direction]
                yield f"{module}.weight_{kind}_l0{suffix}", _torch_gates(weight.T)
                yield f"{module}.bias_{kind}_l0{suffix}", _torch_gates(bias[direction, part])


def _torch_gates(rows: np.ndarray) -> np.ndarray:
    i, o, f, c = np.split(rows, 4)
    return np.concatenate([i, f, c, o])


def _renamed(name: str) -> str:
    """`decoder.decoder.encode.conv1.bias` and `encoder.predictor.F0_proj.bias`, by the names of the torch model."""
    outer, _, inner = name.partition(".")
    return inner if outer in ("encoder", "decoder") else name


def _module(node: str) -> str:
    """`/encoder/text_encoder/cnn.0/cnn.0.0/Conv_quant` -> `text_encoder.cnn.0.0`: whose weight the node multiplies with.

    Albert's twelve layers are one, called twelve times: what is numbered by `_1` to `_11` is the first again.
    """
    parts: list[str] = []
    for part in node.split("/")[2:-1]:
        if parts and part.startswith(f"{parts[-1]}."):
            parts.pop()
        parts.append(re.sub(r"_\d+$", "", part))
    name = ".".join(parts)
    return f"predictor.{name}" if re.match(r"(F0|N)[._]|shared", name) else name
