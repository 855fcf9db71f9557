"""Prism, Beam's portable runner for one machine, from Go's module proxy: Go builds it once, and it is kept.

Go checks what it fetches against its own checksum database.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

from pipelines.dev import process
from transforms.errors import WavemillError
from transforms.settings import Settings

MODULE = "github.com/apache/beam/sdks/v2/go/cmd/prism"


def choose_ports() -> dict[str, int]:
    return process.choose_ports(("job",))


def command(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """The command line. Raises `bad_usage` where Go is missing, or cannot build it."""
    return [str(fetch(Settings().programs_dir)), "-job_port", str(ports["job"]), "-serve_http=false"]


def fetch(folder: Path) -> Path:
    """The program, of the version that Beam has here, built at the first call. Raises `bad_usage`."""
    beam = version("apache-beam")
    target = folder / f"prism-{beam}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            go = shutil.which("go")
            if go is None:
                raise WavemillError("bad_usage", "the program `go` is not here; Prism is built with it")
            with tempfile.TemporaryDirectory(dir=folder) as name:
                done = subprocess.run(
                    [go, "install", f"{MODULE}@v{beam}"], env={**os.environ, "GOBIN": name}, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    raise WavemillError("bad_usage", f"Go cannot build Prism {beam}:\n{done.stderr[-2000:]}")
                (Path(name) / "prism").rename(target)
    return target


def environment(ports: Mapping[str, int]) -> dict[str, str]:
    return {"WAVEMILL_ENDPOINT": f"127.0.0.1:{ports['job']}"}


def answers(ports: Mapping[str, int]) -> bool:
    return not process.are_free(ports.values())
