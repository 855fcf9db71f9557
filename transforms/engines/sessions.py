"""One way to open an ONNX model, for the engines that have one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transforms.engine import Place
from transforms.errors import WavemillError


def open_session(path: Path, place: Place) -> Any:
    """A session on the place's device, to be shared by its threads: each call computes in the thread that makes it.

    Raises `engine_unloadable`.
    """
    import onnxruntime

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(place.device)
    if provider is None or provider not in onnxruntime.get_available_providers():
        raise WavemillError(
            "engine_unloadable", f"onnxruntime here has no {place.device}; install the extra `gpu`, or use --device cpu"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # its own exceptions have no common base
        raise WavemillError("engine_unloadable", f"{path.name}: {error}") from error
