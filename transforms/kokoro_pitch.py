"""Kokoro's graph with a say in its melody: the pitch that it predicts is moved and stretched before anything is spoken with it.

Nothing is done to sound, as a vocoder would: the decoder itself speaks at the other pitch. Where the graph takes a frame for
unvoiced (under 10 Hz) it stays unvoiced.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transforms.errors import WavemillError

PITCH, RANGE = "pitch", "pitch_range"
"""Inputs of the graph, float32 of shape (1,): a factor of the frequency, and one of its distance to the mean of what is voiced."""
_FROM, _NODE = "/encoder/F0_proj/Conv_output_0", "Squeeze"
_VOICED_HZ, _LEAST_HZ = 10.0, 40.0


def with_pitch(path: Path) -> bytes:
    """The graph in a file, with the two inputs. Raises `engine_unloadable` where it does not predict a pitch as it should."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(path))
    graph = model.graph
    at = next((n for n, node in enumerate(graph.node) if node.op_type == _NODE and node.input[0] == _FROM), None)
    if at is None:
        raise WavemillError("engine_unloadable", f"{path.name} has no pitch that could be changed; leave pitch and pitch_range out")
    made = graph.node[at].output[0]
    graph.node[at].output[0] = "melody/f0"
    for name in (PITCH, RANGE):
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    for name, value in (("voiced_hz", _VOICED_HZ), ("least_hz", _LEAST_HZ), ("few", 1e-3)):
        graph.initializer.append(helper.make_tensor(f"melody/{name}", TensorProto.FLOAT, [1], [value]))

    def node(operation: str, output: str, *inputs: str, **attributes: Any) -> None:
        nodes.append(helper.make_node(operation, inputs, [output], **attributes))

    nodes: list[onnx.NodeProto] = []
    node("Greater", "melody/voiced", "melody/f0", "melody/voiced_hz")
    node("Cast", "melody/weights", "melody/voiced", to=TensorProto.FLOAT)
    node("Mul", "melody/heard", "melody/f0", "melody/weights")
    node("ReduceSum", "melody/sum", "melody/heard", keepdims=1)
    node("ReduceSum", "melody/frames", "melody/weights", keepdims=1)
    node("Max", "melody/count", "melody/frames", "melody/few")
    node("Div", "melody/mean", "melody/sum", "melody/count")
    node("Sub", "melody/off", "melody/f0", "melody/mean")
    node("Mul", "melody/wider", "melody/off", RANGE)
    node("Add", "melody/around", "melody/wider", "melody/mean")
    node("Mul", "melody/moved", "melody/around", PITCH)
    node("Max", "melody/held", "melody/moved", "melody/least_hz")
    node("Where", made, "melody/voiced", "melody/held", "melody/f0")
    for offset, one in enumerate(nodes, at + 1):
        graph.node.insert(offset, one)
    data: bytes = model.SerializeToString()
    return data
