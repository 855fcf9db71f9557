"""One way to open an ONNX model, for the engines that have one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transforms.engine import Place
from transforms.errors import WavemillError


def provider(place: Place) -> str:
    """onnxruntime's name for the place's device. Raises `engine_unloadable` when it is not to be had here."""
    import onnxruntime

    there = onnxruntime.get_available_providers()
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    name = {"cpu": cpu, "cuda": cuda, "auto": cuda if cuda in there else cpu}.get(place.device, "")
    if name not in there:
        detail = f"onnxruntime here cannot use {place.device}; install the extra `gpu`, or take --device cpu"
        raise WavemillError("engine_unloadable", detail, "device")
    return name


def open_session(path: Path, place: Place, graph: bytes = b"") -> Any:
    """A session to be shared by the place's threads: each call computes in the thread that makes it.

    `graph` stands in the place of what is in the file. Raises `engine_unloadable`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph or str(path), options, providers=[provider(place)])
    except Exception as error:  # its own exceptions share no other base
        raise WavemillError("engine_unloadable", f"{path.name}: {error}") from error
