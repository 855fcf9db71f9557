"""torch at a place, for the engines of the extra `torch`."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

from transforms.engine import Place
from transforms.errors import WavemillError


def open_torch(place: Place, *needed: str) -> tuple[Any, Place]:
    """The module torch, after the `needed` modules were imported, and the place with a device that was found.

    `auto` is CUDA, else MPS, else the CPU. Raises `engine_unloadable` naming the extra, or the device.
    """
    try:
        import torch

        for module in needed:
            import_module(module)
    except ImportError as error:
        raise WavemillError("engine_unloadable", f"{error}; install the extra `torch`: pip install 'wavemill[torch]'") from error
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if place.device == "auto":
        place = replace(place, device=next(device for device, found in there.items() if found))
    if not there.get(place.device):
        raise WavemillError("engine_unloadable", f"torch here cannot use {place.device}; take --device cpu", "device")
    if place.device == "cpu":
        torch.set_num_threads(1)  # the cores are filled by calls, and sums differ with the number of threads
    return torch, place
