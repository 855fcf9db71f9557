"""DeepFilterNet3 (Schröter et al., "DeepFilterNet: Perceptually Motivated Real-Time Speech Enhancement", 2023), at 48 kHz.

Its authors' library, libdeepfilter, is called by its C interface; it computes on the CPU, whatever the place's device.
"""

from __future__ import annotations

import platform
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from transforms import enhance, models
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Item, Outcome, Piece

if TYPE_CHECKING:
    import numpy as np

MODEL = "deepfilternet3"
DELAY_FRAMES = 1440
"""What comes out is this late: two hops of look-ahead and one of the overlap-add, of 480 frames each."""


class DeepFilterNet(Engine):
    """Every channel by itself, with a state of its own that nothing else has touched."""

    name = "deepfilternet"
    operation = "enhance"
    Options = enhance.Options
    rate_hz = 48000
    channels = 0
    max_s = 60.0
    overlap_s = 1.0
    cost_s = 0.1

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (MODEL,) if enhance.options_of(options).denoise else ()

    def check(self, item: Item) -> None:
        enhance.check(item)

    def load(self, place: Place) -> None:
        require_platform(sys.platform, platform.machine())
        self._place, self._lock = place, threading.Lock()
        self._library: Any = None

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [enhance.work(piece, self._denoise) for piece in pieces]

    def close(self) -> None:
        self._library = None  # the system keeps a library that Rust made until the process ends

    def _denoise(self, samples: np.ndarray, limit_db: float) -> np.ndarray:
        """Samples of shape (frames,) with noise lowered by at most `limit_db`, in place in time."""
        import ctypes

        import numpy as np

        library, weights = self._open()
        state = library.df_create(weights, limit_db, None)
        if not state:
            raise WavemillError("engine_unloadable", "libdeepfilter could not open its model")
        try:
            hop = library.df_get_frame_length(state)
            padded = DELAY_FRAMES + len(samples)
            noisy = np.zeros(padded + -padded % hop, np.float32)
            noisy[: len(samples)] = samples
            clean = np.empty_like(noisy)
            into, out = noisy.ctypes.data, clean.ctypes.data
            for offset in range(0, noisy.nbytes, hop * noisy.itemsize):
                library.df_process_frame(state, ctypes.c_void_p(into + offset), ctypes.c_void_p(out + offset))
        finally:
            library.df_free(state)
        return clean[DELAY_FRAMES:padded]

    def _open(self) -> tuple[Any, bytes]:
        """The library, and the path of its weights as it takes it. Raises `model_missing`, `engine_unloadable`."""
        import ctypes

        folder = models.folder(MODEL, self._place.models_dir)
        with self._lock:
            if self._library is None:
                try:
                    library = ctypes.CDLL(str(folder / "libdeepfilter.so"))
                except OSError as error:
                    raise WavemillError("engine_unloadable", f"libdeepfilter.so: {error}") from error
                library.df_create.restype = ctypes.c_void_p
                library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
                library.df_get_frame_length.restype = ctypes.c_size_t
                library.df_get_frame_length.argtypes = [ctypes.c_void_p]
                library.df_process_frame.restype = ctypes.c_float
                library.df_process_frame.argtypes = [ctypes.c_void_p] * 3
                library.df_free.restype = None
                library.df_free.argtypes = [ctypes.c_void_p]
                self._library = library
        return self._library, bytes(folder / "DeepFilterNet3_onnx.tar.gz")


def require_platform(system: str, machine: str) -> None:
    """Raises `engine_unloadable` where the library that the package carries cannot run."""
    if (system, machine) != ("linux", "x86_64"):
        detail = f"libdeepfilter.so is built for linux on x86_64, and this is {system} on {machine}; the engine gtcrn runs here"
        raise WavemillError("engine_unloadable", detail)
