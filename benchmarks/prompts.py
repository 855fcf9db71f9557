"""A real person on a telephone: the prompts of Debian's `asterisk-core-sounds-en-wav`, one speaker at 8 kHz."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from transforms import codec
from transforms.records import Audio
from transforms.settings import Settings

PACKAGE = "asterisk-core-sounds-en-wav"
TOLD = ("vm-opts-full", "vm-review")
HELD_OUT = ("vm-options", "vm-nobox")


def folder() -> Path | None:
    """Where the prompts are, fetched when they are not here; None where the system has no such packages."""
    target = Settings().dev_dir / PACKAGE
    if not target.exists():
        if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
            return None
        with tempfile.TemporaryDirectory() as name:
            subprocess.run(["apt-get", "download", "-q", PACKAGE], cwd=name, check=True, capture_output=True)
            (package,) = Path(name).glob("*.deb")
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["dpkg-deb", "-x", str(package), str(target)], check=True)
    return next(target.rglob("vm-options.wav")).parent


def heard(names: Sequence[str]) -> Audio | None:
    """The prompts one after the other, mono at 16 kHz."""
    prompts = folder()
    if prompts is None:
        return None
    parts = [codec.decode(prompts / f"{name}.wav", 16000, 1, 60.0).samples for name in names]
    return Audio(np.concatenate(parts, axis=1), 16000)
