"""Demucs with small random weights, written as the files that the hub has."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from transforms import models
from transforms.models import File, Model
from transforms.pull import pull
from transforms.settings import Settings

FOUR = ["drums", "bass", "other", "vocals"]
SIX = [*FOUR, "guitar", "piano"]


@contextmanager
def rows(folder: Path) -> Iterator[None]:
    """Both models, each a row of the weights table with the names its own weights have."""
    with pytest.MonkeyPatch.context() as patch:
        for name, sources in (("htdemucs", FOUR), ("htdemucs_6s", SIX)):
            files = write(folder / f"demucs-{name}", name, sources)
            row = Model(f"demucs-{name}", "demucs", "none", ("*",), "random", files, by_hand="made by this test")
            patch.setitem(models.MODELS, row.id, row)
            pull(row.id, Settings(models_dir=folder))
        yield


def write(folder: Path, name: str, sources: list[str]) -> tuple[File, File]:
    """A folder as `demucs.pretrained` takes it, of a model with 0.4 M random parameters."""
    import torch
    from demucs.htdemucs import HTDemucs
    from demucs.states import get_state

    torch.manual_seed(len(sources))
    small: dict[str, Any] = {"channels": 8, "depth": 4, "nfft": 4096, "t_layers": 1, "t_heads": 2, "bottom_channels": 0}
    model = HTDemucs(sources=sources, segment=Fraction(39, 5), **small)
    args, kwargs = model._init_args_kwargs
    folder.mkdir(parents=True)
    package = {"klass": HTDemucs, "args": args, "kwargs": kwargs, "state": get_state(model, None, half=True), "training_args": {}}
    torch.save(package, folder / "new.th")
    weights = f"aaaa000{len(sources)}-{hashlib.sha256((folder / 'new.th').read_bytes()).hexdigest()[:8]}.th"
    (folder / "new.th").rename(folder / weights)
    (folder / f"{name}.yaml").write_text(f"models: [{weights.partition('-')[0]}]\n")
    return File(f"{name}.yaml"), File(weights)
