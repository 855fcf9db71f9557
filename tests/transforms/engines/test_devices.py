"""Which device an engine's library takes where the place says `auto`, or names one."""

from __future__ import annotations

import pytest

from transforms.engine import Place
from transforms.engines.ctranslate2_place import device_of
from transforms.engines.sessions import provider
from transforms.engines.torch_place import open_torch
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
