"""torch at a place, for the engines of the extra `torch`."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from transforms.engine import Place
from transforms.errors import WavemillError, is_out_of_memory

_HELD: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
_OPENING = threading.Lock()
T = TypeVar("T")


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


class Portion:
    """How much of one piece a model is given in one call: halved when that failed, and what then went well is kept to.

    Whatever torch raises may be about memory: of MPS and of the processor it is a plain RuntimeError.
    """

    def __init__(self, name: str, device: str) -> None:
        self.name, self.device, self.most = name, device, math.inf

    def halving(self, amount: float, unit: str, least: float, act: Callable[[float], T], pieces: int = 1) -> T:
        """What `act` makes of a piece of so many units, told how many it may give the model in a call.

        Where half would be less than `least` nothing is learned, and `out_of_memory` is raised, or what torch raised by another type.
        Of several pieces, the longest of so many units, whatever is raised is raised at once: fewer of them are to be tried first.
        """
        import torch

        if pieces > 1:
            return act(min(self.most, amount))
        whole = size = min(self.most, amount)
        while True:
            try:
                made = act(size)
            except (RuntimeError, MemoryError) as error:
                if size / 2 < least:
                    if not is_out_of_memory(error):
                        raise
                    raise WavemillError("out_of_memory", f"{self.name}: even for {size:.3g} {unit} on {self.device}") from error
            else:
                if size < whole:
                    self.most = min(self.most, size)
                return made
            if self.device == "cuda":  # only now, because the error holds what the call had made
                torch.cuda.empty_cache()
            size /= 2
