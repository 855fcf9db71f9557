"""Folders that last as long as a command. One that a killed process left is removed by the next command."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "wavemill-run-"
LOCK = ".held"
YOUNG_S = 60.0
"""A folder without a lock that is younger than this may be one that is just being made."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder in the temporary folder, held by a lock that ends with its process."""
    from filelock import FileLock

    _sweep()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with FileLock(folder / LOCK):
            yield folder


def _sweep() -> None:
    from filelock import FileLock, Timeout

    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):
            if not (folder / LOCK).exists() and time.time() - folder.stat().st_mtime < YOUNG_S:
                continue
            with FileLock(folder / LOCK, timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
