"""Kokoro by torch, where the GPU is one that onnxruntime does not know, or is not installed for."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from transforms import kokoro_model, synthesize, voices
from transforms.engine import Place
from transforms.engines.kokoro import Kokoro
from transforms.engines.torch_place import open_torch
from transforms.options import Options as BaseOptions

if TYPE_CHECKING:
    import numpy as np


class KokoroTorch(Kokoro):
    """Kokoro-82M of the same weights, voices and phonemes as the engine `kokoro`, in 32 bits."""

    name = "kokoro-torch"
    version = 1
    Options = synthesize.Options
    requires = ("kokoro", "misaki", "torch")
    extra = "torch"

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return kokoro_model.MODEL, "kokoro-voices"

    def load(self, place: Place) -> None:
        self._torch, self._place = open_torch(place, "kokoro.model")
        self._lock, self._device = threading.Lock(), threading.Lock()
        self._model: Any = None
        self._pack = lru_cache(maxsize=64)(partial(voices.read_pack, models_dir=place.models_dir))

    def close(self) -> None:
        self._model = None
        self._pack.cache_clear()

    def _say(self, ids: np.ndarray, style: np.ndarray, options: synthesize.Options) -> np.ndarray:
        torch, device = self._torch, self._place.device
        model = self._open()
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if device != "cpu":
                stack.enter_context(self._device)
            given = torch.from_numpy(ids).to(device), torch.from_numpy(style).to(device)
            made: np.ndarray = kokoro_model.speak(model, *given, options.speed).float().cpu().numpy()
            return made

    def _open(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = kokoro_model.open_model(self._place.models_dir, self._place.device)
            return self._model
