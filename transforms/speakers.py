"""Who speaks: an embedding of a voice by the GE2E speaker encoder (Wan et al. 2018), and voices told apart by it.

The encoder is Resemblyzer's, read without torch and run by onnxruntime: log-free mel frames of 25 ms every 10 ms in, a unit
vector of 256 numbers out. Voices of one speaker lie at a cosine of about .9, of two speakers at .4 to .8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transforms import models
from transforms.engine import Place
from transforms.records import Audio

MODEL = "speaker-encoder"
RATE_HZ = 16000
FRAME, HOP, MELS = 400, 160, 40
WINDOW = 160
"""Frames of one look of the encoder: 1.6 s."""
SIZE = 256
LOUDNESS_DBFS = -30.0


def build_encoder(source: Path, target: Path) -> None:
    """Write the encoder as ONNX from the tensors of torch's file: three LSTM layers, a projection, ReLU, unit length.

    torch keeps an LSTM's gates in the order input, forget, cell, output; ONNX wants input, output, forget, cell.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from transforms.torch_file import read_legacy

    state = read_legacy(source, "model_state")
    nodes, weights = [helper.make_node("Transpose", ["mels"], ["x0"], perm=[1, 0, 2])], []

    def gates(name: str) -> np.ndarray:
        i, f, g, o = np.split(state[name], 4)
        return np.concatenate([i, o, f, g])

    for layer in range(3):
        made = {
            f"W{layer}": gates(f"lstm.weight_ih_l{layer}")[None],
            f"R{layer}": gates(f"lstm.weight_hh_l{layer}")[None],
            f"B{layer}": np.concatenate([gates(f"lstm.bias_ih_l{layer}"), gates(f"lstm.bias_hh_l{layer}")])[None],
        }
        weights += [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in made.items()]
        nodes.append(helper.make_node("LSTM", [f"x{layer}", *made], [f"y{layer}", f"h{layer}"], hidden_size=SIZE))
        nodes.append(helper.make_node("Squeeze", [f"y{layer}", "one"], [f"x{layer + 1}"]))
    weights += [
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(state["linear.weight"], "projection"),
        numpy_helper.from_array(state["linear.bias"], "bias"),
    ]
    nodes += [
        helper.make_node("Squeeze", ["h2", "zero"], ["last"]),
        helper.make_node("Gemm", ["last", "projection", "bias"], ["projected"], transB=1),
        helper.make_node("Relu", ["projected"], ["positive"]),
        helper.make_node("LpNormalization", ["positive"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "speaker-encoder",
        [helper.make_tensor_value_info("mels", TensorProto.FLOAT, ["n", "frames", MELS])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", SIZE])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


class SpeakerEncoder:
    """The loaded encoder; may be called by several threads at once. Raises `model_missing`."""

    def __init__(self, place: Place) -> None:
        from transforms.engines.sessions import open_session

        row = models.known(MODEL)
        assert row.derive is not None
        self._session: Any = open_session(models.folder(MODEL, place.models_dir) / row.derive.file, place)

    def embed(self, audio: Audio) -> np.ndarray:
        """The voice in some audio, mono at 16 kHz, of 1 s at least to mean much: float32 of shape (256,), of unit length."""
        found = self.embed_windows(audio, step=WINDOW // 2)
        mean = found.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)

    def embed_windows(self, audio: Audio, step: int) -> np.ndarray:
        """An embedding for every window of 1.6 s, `step` frames of 10 ms apart: float32 of shape (n, 256), n at least 1."""
        frames = mels(audio)
        if len(frames) < WINDOW:
            frames = np.pad(frames, ((0, WINDOW - len(frames)), (0, 0)))
        starts = range(0, len(frames) - WINDOW + 1, step)
        windows = np.stack([frames[start : start + WINDOW] for start in starts])
        return np.concatenate([self._run(windows[start : start + 32]) for start in range(0, len(windows), 32)])

    def _run(self, windows: np.ndarray) -> np.ndarray:
        return np.asarray(self._session.run(None, {"mels": windows})[0], np.float32)


def mels(audio: Audio) -> np.ndarray:
    """Mel power frames of mono audio at 16 kHz, quiet audio raised to -30 dBFS: float32 of shape (frames, 40)."""
    import librosa

    samples = np.ascontiguousarray(audio.samples[0], np.float32)
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    if 0 < rms < 10 ** (LOUDNESS_DBFS / 20):
        samples = samples * np.float32(10 ** (LOUDNESS_DBFS / 20) / rms)
    if len(samples) < FRAME:
        samples = np.pad(samples, (0, FRAME - len(samples)))
    power = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=FRAME, hop_length=HOP, n_mels=MELS)
    return np.ascontiguousarray(power.T, np.float32)


def similarity(one: Sequence[float] | np.ndarray, other: Sequence[float] | np.ndarray) -> float:
    """The cosine between two embeddings."""
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-12))
