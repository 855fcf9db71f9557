"""Tensors out of a file that torch saved before its zip format (torch < 1.6), without torch and without running its pickle.

The file is four pickles (a magic number, a protocol, system facts, the object, the keys of its storages) and then each
storage: its length as an int64 and its numbers. Only what a state of tensors needs is unpickled; any other name is refused.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from transforms.errors import WavemillError

MAGIC = 0x1950A86A20F9469CFC6C
DTYPES = {"FloatStorage": "<f4", "LongStorage": "<i8", "DoubleStorage": "<f8", "HalfStorage": "<f2"}


@dataclass(frozen=True, slots=True)
class _Slot:
    """A tensor before its storage is read."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: tuple[str, str], offset: int, shape: Any, strides: Any, *_: Any) -> _Slot:
    return _Slot(storage[0], offset, tuple(shape), tuple(strides))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise WavemillError("weights_mismatch", f"a file of weights asks for {module}.{name}, which no weights need")

    def persistent_load(self, saved: Any) -> tuple[str, str]:
        _, dtype, key, *_ = saved
        self.dtypes[key] = dtype
        return key, dtype


def read_legacy(path: Path, entry: str) -> dict[str, np.ndarray]:
    """The tensors under `entry` of the saved dictionary, by name. Raises `weights_mismatch` for any other kind of file."""
    with path.open("rb") as file:
        try:
            if _Unpickler(file).load() != MAGIC:
                raise WavemillError("weights_mismatch", f"{path.name} is no file of torch's legacy format")
            for _ in ("protocol", "system"):
                _Unpickler(file).load()
            reader = _Unpickler(file)
            saved = reader.load()
            keys: list[str] = _Unpickler(file).load()
            storages = {key: _read_storage(file, reader.dtypes[key]) for key in keys}
            slots = {name: slot for name, slot in saved[entry].items() if isinstance(slot, _Slot)}
        except (pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise WavemillError("weights_mismatch", f"{path.name} cannot be read: {type(error).__name__}: {error}") from error
    return {name: _tensor(slot, storages[slot.storage]) for name, slot in slots.items()}


def _read_storage(file: IO[bytes], dtype: str) -> np.ndarray:
    count = int.from_bytes(file.read(8), "little")
    numbers = file.read(count * np.dtype(dtype).itemsize)
    return np.frombuffer(numbers, dtype, count)


def _tensor(slot: _Slot, storage: np.ndarray) -> np.ndarray:
    size = storage.itemsize
    reach = slot.offset + sum((n - 1) * step for n, step in zip(slot.shape, slot.strides, strict=True)) if slot.shape else slot.offset
    if min(slot.strides, default=0) < 0 or not 0 <= reach < len(storage):
        raise WavemillError("weights_mismatch", "a tensor reaches beyond its storage")
    steps = [step * size for step in slot.strides]
    return np.array(np.lib.stride_tricks.as_strided(storage[slot.offset :], slot.shape, steps, writeable=False))
