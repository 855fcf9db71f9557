"""Hybrid Transformer Demucs (Rouard, Massa and Défossez, "Hybrid Transformers for Music Source Separation", ICASSP 2023) on torch.

What the models leave over is shared out evenly among the stems, so that they add up to the mix (mixture consistency:
Wisdom et al., "Differentiable Consistency Constraints for Improved Deep Speech Enhancement", ICASSP 2019).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any

from transforms import models, separate
from transforms.engine import Engine, Place
from transforms.engines.torch_place import Portion, open_torch
from transforms.errors import WavemillError
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Item, Outcome, Piece, Result

if TYPE_CHECKING:
    import numpy as np

NAMES = {2: "htdemucs", 4: "htdemucs", 6: "htdemucs_6s"}
OVERLAP = 0.25
LEAST_S = 1.0
"""The shortest segment that is tried when memory does not suffice."""
BATCH = 4
"""Pieces that a GPU is given at once. A processor's cores are filled by calls."""


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
    padded = "audio"

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
        self._portion, self._together = (Portion(self.name, self._place.device) for _ in range(2))
        if self._place.device != "cpu":
            self.max_batch = BATCH

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        """Pieces of one length are one batch; of different lengths they would be padded, which the models hear."""
        return [outcome for _, alike in groupby(pieces, lambda piece: _audio(piece).frames) for outcome in self._alike(list(alike))]

    def close(self) -> None:
        self._bags.clear()

    def _alike(self, pieces: Sequence[Piece]) -> list[Result]:
        def separate(most: float) -> list[Result]:
            return [result for start in range(0, len(pieces), int(most)) for result in self._separate(pieces[start : start + int(most)])]

        return self._together.halving(len(pieces), "pieces", 1, separate)

    def _separate(self, pieces: Sequence[Piece]) -> Iterator[Result]:
        """The stems of pieces of one length and the same options."""
        import numpy as np

        options = pieces[0].options
        assert isinstance(options, separate.Options)
        bag = self._open(_name(options))
        mixes = np.stack([_audio(piece).samples for piece in pieces], dtype=np.float32)
        for mix, estimate in zip(mixes, self._estimate(bag, mixes), strict=True):
            stems = dict(zip(bag.sources, consistent(estimate, mix), strict=True))
            if options.stems == 2:
                stems = {"vocals": stems["vocals"], "instrumental": mix - stems["vocals"]}
            yield Result({"method": _name(options)}, {name: Audio(samples, self.rate_hz) for name, samples in stems.items()})

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
                self._bags[name] = bag
            return self._bags[name]

    def _estimate(self, bag: Any, mixes: np.ndarray) -> np.ndarray:
        """What the models hear of each source, (pieces, sources, channels, frames), in mixes of shape (pieces, channels, frames).

        Out of memory with one piece, shorter segments are tried. Raises as `Portion.halving`, or what torch raises of several pieces.
        """
        levels, spreads = mixes.mean(axis=(1, 2)), mixes.mean(axis=1).std(axis=1) + 1e-8
        given = self._torch.from_numpy((mixes - levels[:, None, None]) / spreads[:, None, None])
        whole_s = min(float(model.segment) for model in bag.models)

        def apply(segment_s: float) -> np.ndarray:
            if segment_s < whole_s:
                for model in bag.models:
                    model.use_train_segment = False  # else it fills every segment up to the length it was trained with
            with ExitStack() as stack:
                stack.enter_context(self._torch.inference_mode())
                if self._place.device != "cpu":
                    stack.enter_context(self._device)
                if self._place.device == "cuda":
                    stack.enter_context(self._torch.autocast("cuda", self._torch.float16))
                made = self._apply_model(bag, given, shifts=0, split=True, overlap=OVERLAP, device=self._place.device, segment=segment_s)
            return made.float().numpy() * spreads[:, None, None, None]  # type: ignore[no-any-return]

        return self._portion.halving(whole_s, "s of a segment", LEAST_S, apply, pieces=len(mixes))


def consistent(made: np.ndarray, mix: np.ndarray) -> np.ndarray:
    """Sources of shape (sources, channels, frames) with what they lack of the mix, (channels, frames), added in equal parts."""
    return made + (mix - made.sum(axis=0)) / len(made)  # type: ignore[no-any-return]


def _name(options: BaseOptions) -> str:
    assert isinstance(options, separate.Options)
    return NAMES.get(options.stems, NAMES[4])


def _audio(piece: Piece) -> Audio:
    audio = piece.inputs["audio"]
    assert isinstance(audio, Audio)
    return audio
