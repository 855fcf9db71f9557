"""What the engines on sherpa-onnx share: models of the user's own folders, opened once each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from transforms.engine import Engine, Place
from transforms.engines import sherpa_models
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions


class Sherpa(Engine):
    """Base of the engines whose options name a model by `model_dir` and `kind`."""

    name = "sherpa"
    requires = ("sherpa_onnx",)
    extra = "sherpa"

    def weights(self, options: BaseOptions) -> str:
        named: Any = options
        return sherpa_models.identity(named.kind, self.operation, named.model_dir)

    def load(self, place: Place) -> None:
        try:
            import sherpa_onnx  # noqa: F401  a broken installation shows here, before any work
        except ImportError as error:
            raise WavemillError("engine_unloadable", f"{error}; install the extra `sherpa`: pip install 'wavemill[sherpa]'") from error
        if place.device not in ("cpu", "auto"):
            raise WavemillError("engine_unloadable", f"sherpa-onnx as packaged cannot use {place.device}; take --device cpu", "device")
        self._lock = threading.Lock()
        self._opened: dict[tuple[Any, ...], Any] = {}

    def close(self) -> None:
        self._opened.clear()

    def opened(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gave for that key, made once."""
        with self._lock:
            if key not in self._opened:
                self._opened[key] = make()
            return self._opened[key]
