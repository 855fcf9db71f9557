"""Which device an engine's library takes where the place says `auto`, or names one."""

from __future__ import annotations

import gc
import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest

from transforms.engine import Place
from transforms.engines.ctranslate2_place import device_of
from transforms.engines.sessions import provider
from transforms.engines.torch_place import Portion, open_torch, shared
from transforms.engines.whisper_model import WhisperModel
from transforms.errors import WavemillError


@pytest.mark.extra("torch")
@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_torch_takes_cuda_else_mps_else_the_processor(monkeypatch: pytest.MonkeyPatch, cuda: bool, mps: bool, expected: str) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    found, place = open_torch(Place("auto", 3))
    assert found is torch
    assert place == Place(expected, 3)


@pytest.mark.extra("torch")
def test_torch_takes_the_device_that_is_named_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert open_torch(Place("cpu"))[1].device == "cpu"
    with pytest.raises(WavemillError, match="mps") as caught:
        open_torch(Place("mps"))
    assert (caught.value.code, caught.value.field) == ("engine_unloadable", "device")


MPS = RuntimeError("MPS backend out of memory (MPS allocated: 1.00 GB)")
"""torch has a type for CUDA alone."""


@pytest.mark.extra("torch")
def test_a_piece_that_is_too_large_is_worked_in_halves_and_what_fits_is_kept_to() -> None:
    import torch

    asked, errors = list[float](), [torch.OutOfMemoryError("injected"), MPS]

    def act(most: float) -> str:
        asked.append(most)
        if most > 30:
            raise errors.pop()
        return f"in parts of {most:g}"

    portion = Portion("one", "cpu")
    assert portion.halving(20, "characters", 10, act) == "in parts of 20"
    assert portion.most == math.inf, "what a small piece takes says nothing of a larger one"
    assert portion.halving(100, "characters", 10, act) == "in parts of 25"
    assert portion.halving(100, "characters", 10, act) == "in parts of 25"
    assert portion.halving(12, "characters", 10, act) == "in parts of 12"
    assert asked == [20, 100, 50, 25, 25, 12]


@pytest.mark.extra("torch")
def test_memory_that_never_suffices_is_told_of_the_smallest_part_and_teaches_nothing() -> None:
    def act(most: float) -> str:
        raise MemoryError("injected")

    portion = Portion("one", "mps")
    with pytest.raises(WavemillError, match=r"one: even for 12\.5 characters on mps") as caught:
        portion.halving(100, "characters", 10, act)
    assert (caught.value.code, portion.most) == ("out_of_memory", math.inf)


@pytest.mark.extra("torch")
@pytest.mark.parametrize(("error", "tries"), [(MPS, 4), (ZeroDivisionError("injected"), 1)])
def test_what_has_no_type_for_memory_is_raised_as_it_is_when_no_part_goes_well(error: Exception, tries: int) -> None:
    asked = list[float]()

    def act(most: float) -> str:
        asked.append(most)
        raise error

    portion = Portion("one", "mps")
    with pytest.raises(type(error)) as caught:
        portion.halving(100, "characters", 10, act)
    assert caught.value is error
    assert (len(asked), portion.most) == (tries, math.inf)


@pytest.mark.extra("torch")
def test_what_a_gpu_held_for_a_call_that_failed_is_let_go_before_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    class Tensor:
        pass

    held, alive = WeakSet[Tensor](), list[int]()
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append(len(held)))

    def act(most: float) -> float:
        tensor = Tensor()
        held.add(tensor)
        if most > 30:
            raise torch.OutOfMemoryError("injected")
        return most

    assert Portion("one", "cuda").halving(100, "characters", 10, act) == 25
    assert alive == [0, 0]


def test_onnxruntime_takes_the_gpu_only_where_it_has_one() -> None:
    import onnxruntime

    gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    assert provider(Place("auto")) == ("CUDAExecutionProvider" if gpu else "CPUExecutionProvider")
    with pytest.raises(WavemillError, match="mps"):
        provider(Place("mps"))


@pytest.mark.parametrize(("device", "here", "expected"), [("auto", 1, "cuda"), ("auto", 0, "cpu"), ("cuda", 0, "cuda"), ("mps", 1, "cpu")])
def test_ctranslate2_takes_the_gpu_it_counts_or_the_processor(
    monkeypatch: pytest.MonkeyPatch, device: str, here: int, expected: str
) -> None:
    import ctranslate2

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: here)
    assert device_of(Place(device)) == expected


class Model:
    """Takes its time to open."""

    def __init__(self) -> None:
        time.sleep(0.05)


def test_a_model_is_opened_once_for_each_place_however_many_ask_and_only_as_long_as_it_is_held() -> None:
    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(lambda _: shared("a", Place("cpu"), Model), range(8)))
    assert len(set(map(id, held))) == 1
    others = [("b", Place("cpu")), ("a", Place("cuda")), ("a", Place("cpu", models_dir=Path("/elsewhere")))]
    assert all(shared(name, place, Model) is not held[0] for name, place in others)
    assert shared("a", Place("cpu", threads=3), Model) is held[0]
    held.clear()
    gc.collect()
    opened: list[Any] = []
    shared("a", Place("cpu"), lambda: opened.append(Model()) or opened[0])
    assert opened


@pytest.mark.parametrize(
    ("device", "asked", "expected"), [("cuda", "auto", "float16"), ("cuda", "float32", "float32"), ("cpu", "auto", "int8")]
)
def test_whisper_computes_in_half_precision_on_a_gpu_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: str, expected: str
) -> None:
    import ctranslate2
    import faster_whisper

    class Refuses(Exception):
        """Instead of a model that would need the device."""

    def open_model(folder: str, **given: Any) -> Any:
        raise Refuses(given["device"], given["compute_type"])

    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 1)
    monkeypatch.setattr(faster_whisper, "WhisperModel", open_model)
    with pytest.raises(Refuses) as caught:
        WhisperModel(Path("whisper-tiny"), asked, Place(device), 448)
    assert caught.value.args == (device, expected)
