"""Kokoro by torch, where the GPU is one that onnxruntime does not know, or is not installed for."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from pydantic import Field

from transforms import kokoro_model, phonemes, synthesize, voices, word_times
from transforms.engine import Place
from transforms.engines.kokoro import Heard, Kokoro
from transforms.engines.torch_place import Portion, open_torch
from transforms.options import Options as BaseOptions

if TYPE_CHECKING:
    import numpy as np


LEAST_PHONEMES = 60
"""The least that a part of a sentence may have when memory does not suffice: less would cut long words."""
BATCH = 8
"""Pieces that a GPU is given at once, of some 400 MB each. A processor's cores are filled by calls."""


class KokoroTorchOptions(synthesize.Options):
    word_timestamps: bool = Field(False, description="tell when each word is spoken, as `words` of the result")


class KokoroTorch(Kokoro):
    """Kokoro-82M of the same weights, voices and phonemes as the engine `kokoro`, in 32 bits; it knows when each word is spoken."""

    name = "kokoro-torch"
    version = 1
    Options = KokoroTorchOptions
    requires = ("kokoro", "misaki", "torch")
    extra = "torch"
    padded = "text"

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return kokoro_model.MODEL, "kokoro-voices"

    def load(self, place: Place) -> None:
        self._torch, self._place = open_torch(place, "kokoro.model")
        self._lock, self._device = threading.Lock(), threading.Lock()
        self._portion = Portion(self.name, self._place.device)
        self._model: Any = None
        self._pack = lru_cache(maxsize=64)(partial(voices.read_pack, models_dir=place.models_dir))
        if self._place.device != "cpu":
            self.max_batch = BATCH

    def close(self) -> None:
        self._model = None
        self._pack.cache_clear()

    def _heard(self, said: Sequence[str], pack: np.ndarray, options: synthesize.Options, limit: int) -> list[list[Heard]]:
        """Out of memory with one piece, shorter parts are said. Raises as `Portion.halving`, or what torch raises of several pieces."""
        self._open()  # a model that does not fit is no matter of the sentence
        heard = super()._heard
        return self._portion.halving(
            min(limit, max(map(len, said))),
            "phonemes",
            LEAST_PHONEMES,
            lambda most: heard(said, pack, options, round(most)),
            pieces=len(said),
        )

    def _told(self, text: str, parts: Sequence[str], spans: Sequence[np.ndarray], options: synthesize.Options) -> dict[str, Any]:
        assert isinstance(options, KokoroTorchOptions)
        if not options.word_timestamps:
            return {}
        _, language = self._said_by(options)
        seconds = [(frames / self.rate_hz).tolist() for frames in spans]
        return {"words": word_times.words(text, parts, seconds, lambda word: len(phonemes.phonemes(word, language).split()))}

    def _say(self, given: Sequence[tuple[np.ndarray, np.ndarray]], options: synthesize.Options) -> list[tuple[np.ndarray, np.ndarray]]:
        import numpy as np

        torch, device = self._torch, self._place.device
        model = self._open()
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            if device != "cpu":
                stack.enter_context(self._device)
            ids, styles = zip(*given, strict=True)
            tokens = [torch.from_numpy(one).to(device) for one in ids]
            made = kokoro_model.speak(model, tokens, torch.tensor(np.stack(styles)).to(device), options.speed)
            return [(samples.float().cpu().numpy(), frames.cpu().numpy()) for samples, frames in made]

    def _open(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = kokoro_model.hold(self._place)
            return self._model
