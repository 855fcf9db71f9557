"""torch at a place, for the engines of the extra `torch`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from transforms.engine import Place
from transforms.errors import WavemillError


def open_torch(place: Place, *needed: str) -> Any:
    """The module torch, after the `needed` modules were imported and the place's device was found.

    Raises `engine_unloadable` naming the extra, or the device.
    """
    try:
        import torch

        for module in needed:
            import_module(module)
    except ImportError as error:
        raise WavemillError("engine_unloadable", f"{error}; install the extra `torch`: pip install 'wavemill[torch]'") from error
    if not {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}.get(place.device):
        raise WavemillError("engine_unloadable", f"torch here cannot use {place.device}; take --device cpu", "device")
    if place.device == "cpu":
        torch.set_num_threads(1)  # the cores are filled by calls, and sums differ with the number of threads
    return torch
