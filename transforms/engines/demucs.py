"""Hybrid Transformer Demucs (Rouard, Massa and Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023) on torch.

What the models leave over is shared out evenly among the stems, so that they add up to the mix (mixture consistency:
Wisdom et al., "Differentiable Consistency Constraints for Improved Deep Speech Enhancement", ICASSP 2019).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from transforms import models, separate
from transforms.engine import Engine, Place
from transforms.engines.torch_place import open_torch
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Item, Outcome, Piece, Result

if TYPE_CHECKING:
    import numpy as np

NAMES = {2: "htdemucs", 4: "htdemucs", 6: "htdemucs_6s"}
OVERLAP = 0.25
LEAST_S = 1.0
"""The shortest segment that is tried when memory does not suffice."""


class Demucs(Engine):
    """2 stems (`vocals` and `instrumental`), 4 (`drums bass other vocals`) or 6 (`guitar` and `piano` too), in stereo."""

    name = "demucs"
    operation = "separate"
    Options = separate.Options
    requires = ("demucs", "torch")
    extra = "torch"
    rate_hz = 44100
    channels = 2
    max_s = 60.0
    overlap_s = 2.0
    cost_s = 0.8

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        return (f"demucs-{_name(options)}",)

    def check(self, item: Item) -> None:
        assert isinstance(item.options, separate.Options)
        if item.options.stems not in NAMES:
            detail = f"stems: the engine demucs makes {', '.join(map(str, NAMES))}, not {item.options.stems}"
            raise WavemillError("bad_option", detail, "stems")

    def load(self, place: Place) -> None:
        self._torch, self._place = open_torch(place, "demucs.apply")
        from demucs.apply import apply_model

        self._apply_model = apply_model
        self._opening, self._device = threading.Lock(), threading.Lock()
        self._bags: dict[str, Any] = {}
        self._segment_s: dict[str, float] = {}

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [self._separate(piece.inputs["audio"], piece.options) for piece in pieces]

    def close(self) -> None:
        self._bags.clear()

    def _separate(self, audio: str | Audio, options: separate.Options) -> Result:
        import numpy as np

        assert isinstance(audio, Audio)
        bag = self._open(_name(options))
        mix = np.array(audio.samples, np.float32, order="C")  # a copy: torch wants one that may be written
        made = consistent(self._estimate(bag, _name(options), mix), mix)
        stems = dict(zip(bag.sources, made, strict=True))
        if options.stems == 2:
            stems = {"vocals": stems["vocals"], "instrumental": mix - stems["vocals"]}
        return Result({"method": _name(options)}, {name: Audio(samples, audio.rate_hz) for name, samples in stems.items()})

    def _open(self, name: str) -> Any:
        from demucs.pretrained import get_model
        from demucs.repo import ModelLoadingError

        with self._opening:
            if name not in self._bags:
                folder = models.folder(f"demucs-{name}", self._place.models_dir)
                try:
                    bag = get_model(name, repo=folder)  # with a folder it asks no server
                except ModelLoadingError as error:
                    raise WavemillError("weights_mismatch", f"demucs-{name}: {error}", "model") from error
                bag.to(self._place.device).eval()
                self._segment_s[name] = min(float(model.segment) for model in bag.models)
                self._bags[name] = bag
            return self._bags[name]

    def _estimate(self, bag: Any, name: str, mix: np.ndarray) -> np.ndarray:
        """What the models hear of each source: (sources, channels, frames). Raises `out_of_memory`.

        Out of memory, a segment of half the length is tried, and kept for all that comes.
        """
        torch = self._torch
        level, spread = float(mix.mean()), float(mix.mean(axis=0).std()) + 1e-8
        given = torch.from_numpy((mix - level) / spread)[None]
        while True:
            segment_s = self._segment_s[name]
            try:
                with ExitStack() as stack:
                    stack.enter_context(torch.inference_mode())
                    if self._place.device != "cpu":
                        stack.enter_context(self._device)
                    if self._place.device == "cuda":
                        stack.enter_context(torch.autocast("cuda", torch.float16))
                    made = self._apply_model(
                        bag, given, shifts=0, split=True, overlap=OVERLAP, device=self._place.device, segment=segment_s
                    )
                return (made[0].float() * spread).numpy()  # type: ignore[no-any-return]
            except (torch.OutOfMemoryError, MemoryError) as error:
                if segment_s / 2 < LEAST_S:
                    raise WavemillError("out_of_memory", f"demucs: even for segments of {segment_s:.1f} s") from error
            self._shorten(bag, name, segment_s / 2)

    def _shorten(self, bag: Any, name: str, segment_s: float) -> None:
        for model in bag.models:
            model.use_train_segment = False  # else it fills every segment up to the length it was trained with
        self._segment_s[name] = min(self._segment_s[name], segment_s)
        if self._place.device == "cuda":
            self._torch.cuda.empty_cache()


def consistent(made: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Sources of shape (sources, channels, frames) with what they lack of the mix, (channels, frames), added in equal parts."""
    return made + (mix - made.sum(axis=0)) / len(made)  # type: ignore[no-any-return]


def _name(options: BaseOptions) -> str:
    assert isinstance(options, separate.Options)
    return NAMES.get(options.stems, NAMES[4])
