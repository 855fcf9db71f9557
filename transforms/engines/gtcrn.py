"""GTCRN (Rong et al., "GTCRN: A Speech Enhancement Model Requiring Ultralow Computational Resources", ICASSP 2024), 16 kHz.

A spectrum of 512 frames every 256, square root of Hann at both ends, goes through the model frame by frame.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms import enhance, models
from transforms.engine import Engine, Place
from transforms.engines.sessions import open_session, provider
from transforms.options import Options as BaseOptions
from transforms.records import Item, Outcome, Piece

if TYPE_CHECKING:
    import numpy as np

MODEL = "gtcrn"
CACHES = {"conv_cache": (2, 1, 16, 16, 33), "tra_cache": (2, 3, 1, 1, 16), "inter_cache": (2, 1, 33, 16)}
"""What the model hands from frame to frame, in the order it gives them back."""
_WINDOW, _HOP = 512, 256


class GTCRN(Engine):
    """Every channel by itself, from empty caches."""

    name = "gtcrn"
    operation = "enhance"
    Options = enhance.Options
    requires = ("onnxruntime",)
    rate_hz = 16000
    channels = 0
    max_s = 60.0
    overlap_s = 1.0
    cost_s = 0.05

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (MODEL,) if enhance.options_of(options).denoise else ()

    def check(self, item: Item) -> None:
        enhance.check(item)

    def load(self, place: Place) -> None:
        provider(place)
        self._place, self._lock = place, threading.Lock()
        self._session: Any = None

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [enhance.work(piece, self._denoise) for piece in pieces]

    def close(self) -> None:
        self._session = None

    def _denoise(self, samples: np.ndarray, limit_db: float) -> np.ndarray:
        """Samples of shape (frames,) with noise lowered by at most `limit_db`: so much of what was given is mixed in."""
        import numpy as np
        from scipy.signal import ShortTimeFFT
        from scipy.signal.windows import hann

        session = self._open()
        frames = ShortTimeFFT(np.sqrt(hann(_WINDOW, sym=False)), _HOP, self.rate_hz, phase_shift=None)
        padded = np.pad(samples, (0, max(0, _WINDOW - len(samples))))
        spectrum = frames.stft(padded).astype(np.complex64)
        noisy = np.stack((spectrum.real, spectrum.imag), axis=-1)[None]
        clean = np.empty_like(spectrum)
        caches = {name: np.zeros(shape, np.float32) for name, shape in CACHES.items()}
        for index in range(spectrum.shape[1]):
            made, *kept = session.run(None, {"mix": noisy[:, :, index : index + 1], **caches})
            clean[:, index] = made[0, :, 0, 0] + 1j * made[0, :, 0, 1]
            caches = dict(zip(CACHES, kept, strict=True))
        heard = frames.istft(clean, k1=len(padded))[: len(samples)]
        left = 10 ** (-limit_db / 20) if limit_db < 100 else 0.0
        return np.asarray((1 - left) * heard + left * samples, np.float32)

    def _open(self) -> Any:
        """The session. Raises `model_missing`, `engine_unloadable`."""
        folder = models.folder(MODEL, self._place.models_dir)
        with self._lock:
            if self._session is None:
                self._session = open_session(folder / "gtcrn.onnx", self._place)
            return self._session
