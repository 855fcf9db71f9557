"""CTranslate2 at a place, for the engines whose models it runs."""

from __future__ import annotations

from transforms.engine import Place


def device_of(place: Place) -> str:
    """CTranslate2's name for the place's device: it knows CUDA and the CPU, which stands in for MPS."""
    import ctranslate2

    cuda = place.device == "cuda" or (place.device == "auto" and ctranslate2.get_cuda_device_count() > 0)
    return "cuda" if cuda else "cpu"
