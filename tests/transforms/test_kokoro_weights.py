"""Kokoro's weights out of its 8-bit graph, held against what the graph itself computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from transforms import kokoro_weights
from transforms.phonemes import ALPHABET
from transforms.pull import pull
from transforms.settings import Settings

SHAPES = {
    "bert.embeddings.word_embeddings.weight": (178, 128),
    "bert.encoder.embedding_hidden_mapping_in.weight": (768, 128),
    "bert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight": (2048, 768),
    "bert_encoder.weight": (512, 768),
    "text_encoder.cnn.0.0.weight": (512, 512, 5),
    "text_encoder.lstm.weight_ih_l0_reverse": (1024, 512),
    "predictor.text_encoder.lstms.0.weight_hh_l0": (1024, 256),
    "predictor.shared.bias_ih_l0": (1024,),
    "predictor.F0.1.pool.weight": (512, 1, 3),
    "predictor.F0_proj.weight": (1, 256, 1),
    "decoder.encode.norm1.fc.weight": (1028, 128),
    "decoder.generator.ups.0.weight": (512, 256, 20),
    "decoder.generator.m_source.l_linear.weight": (1, 9),
    "decoder.generator.resblocks.5.alpha2.2": (1, 128, 1),
    "decoder.generator.conv_post.weight": (22, 128, 7),
}
LAYERS = {
    # node -> layer, in torch's name for it
    "/encoder/bert_encoder/MatMul_quant": "bert_encoder",
    "/encoder/predictor/duration_proj/linear_layer/MatMul_quant": "predictor.duration_proj.linear_layer",
    "/encoder/F0_proj/Conv_quant": "predictor.F0_proj",
    "/encoder/N_proj/Conv_quant": "predictor.N_proj",
    "/decoder/decoder/asr_res/asr_res.0/Conv_quant": "decoder.asr_res.0",
}


@pytest.fixture(scope="module")
def path() -> Path:
    return pull("kokoro-int8", Settings()) / "kokoro.onnx"


@pytest.fixture(scope="module")
def weights(path: Path) -> dict[str, np.ndarray]:
    return kokoro_weights.read(path)


def test_there_are_82_million_numbers_in_the_shapes_of_torchs_layers(weights: dict[str, np.ndarray]) -> None:
    assert {name: weights[name].shape for name in SHAPES} == SHAPES
    assert sum(tensor.size for tensor in weights.values()) == pytest.approx(81.1e6, rel=0.001)
    for name, tensor in weights.items():
        assert tensor.dtype == np.float32, name
        assert np.isfinite(tensor).all(), name
        assert tensor.any() or tensor.ndim == 1, name


def test_every_weight_has_the_bias_of_as_many_rows(weights: dict[str, np.ndarray]) -> None:
    without = {
        name.removesuffix(".weight")
        for name, tensor in weights.items()
        if name.endswith(".weight") and tensor.ndim > 1 and name.replace(".weight", ".bias") not in weights
    }
    assert all("embedding" in name or name.endswith(".conv1x1") for name in without), without
    for name, tensor in weights.items():
        bias = weights.get(name.replace(".weight", ".bias"))
        if name.endswith(".weight") and bias is not None and ".ups." not in name:
            assert len(tensor) == len(bias), name


def test_layers_give_what_the_graphs_own_integers_give(path: Path, weights: dict[str, np.ndarray]) -> None:
    graph = onnx.load(str(path))
    nodes = {node.name: node for node in graph.graph.node}
    makers = {output: node for node in graph.graph.node for output in node.output}
    takers = {given: node for node in graph.graph.node for given in node.input}
    tapped: dict[str, tuple[str, str]] = {}
    for name, layer in LAYERS.items():
        end = takers[nodes[name].output[0]]
        while end.op_type != "Mul":
            end = takers[end.output[0]]
        tapped[layer] = makers[nodes[name].input[0]].input[0], end.output[0]
    for output in {name for pair in tapped.values() for name in pair}:
        graph.graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.array([[0, *(ALPHABET[symbol] for symbol in "həlˈO wˈɜɹld"), 0]], np.int64)
    style = np.random.default_rng(1).normal(0, 0.1, (1, 256)).astype(np.float32)
    given = dict(zip([made.name for made in session.get_inputs()], (ids, style, np.ones(1, np.float32)), strict=True))
    found = dict(zip([made.name for made in session.get_outputs()], session.run(None, given), strict=True))
    for layer, (taken, made) in tapped.items():
        weight = weights[f"{layer}.weight"].reshape(len(weights[f"{layer}.weight"]), -1)
        rows = found[taken] if weight.shape[1] == found[taken].shape[-1] else found[taken].swapaxes(1, 2)
        out = found[made] if weight.shape[0] == found[made].shape[-1] else found[made].swapaxes(1, 2)
        own = rows @ weight.T
        error = min(np.abs(own - out).max(), np.abs(own + weights[f"{layer}.bias"] - out).max())
        assert error < 0.03 * np.abs(out).max(), layer  # the graph rounds its inputs to 8 bits


@pytest.mark.parametrize(
    ("node", "module"),
    [
        ("/encoder/text_encoder/cnn.0/cnn.0.0/Conv_quant", "text_encoder.cnn.0.0"),
        ("/encoder/bert/encoder/albert_layer_groups.0/albert_layers.0/ffn_11/MatMul_quant", None),
        ("/encoder/F0.1/conv1x1/Conv_quant", "predictor.F0.1.conv1x1"),
        ("/encoder/shared/LSTM_quant", "predictor.shared"),
        ("/decoder/decoder/generator/ups.0/ConvTranspose", "decoder.generator.ups.0"),
    ],
)
def test_a_node_says_whose_weight_it_multiplies_with(node: str, module: str | None) -> None:
    assert kokoro_weights._module(node) == (module or "bert.encoder.albert_layer_groups.0.albert_layers.0.ffn")
