"""torch at a place, for the engines of the extra `torch`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any
from weakref import WeakValueDictionary

from transforms.engine import Place
from transforms.errors import WavemillError

_HELD: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
_OPENING = threading.Lock()


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


def shared(name: str, place: Place, make: Callable[[], Any]) -> Any:
    """The model of that name at a place whose device is known, by `make` where nobody in this process holds it yet."""
    key = (name, place.device, place.models_dir)
    with _OPENING:
        model = _HELD.get(key)
        if model is None:
            model = _HELD[key] = make()
        return model
