"""Which device an engine's library takes where the place says `auto`, or names one."""

from __future__ import annotations

import gc
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from transforms.engine import Place
from transforms.engines.ctranslate2_place import device_of
from transforms.engines.sessions import provider
from transforms.engines.torch_place import open_torch, shared
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
