"""Any SOURCE as rows: what it is, which version of it, and its rows in order.

To add a source: a module that yields record batches of `sources.manifest.SCHEMA`, and its case in `open_source`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from sources import folder, manifest, text, topic
from transforms import storage
from transforms.errors import WavemillError
from transforms.operations import Operation
from transforms.records import KAFKA

MANIFESTS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class Source:
    """An opened SOURCE: `version` is the digest of its bytes or listing, `base` what relative URIs stand against."""

    url: str
    version: str
    base: str
    rows: Iterator[pa.RecordBatch]
    listing: list[storage.Entry] = field(default_factory=list)
    claims: bool = False
    """Whether rows are those of messages (`sources.topic`): options together, a version for each input, a code where refused."""


def open_source(url: str, operation: Operation, split: Literal["line", "paragraph", "file"], scratch: Path, own: str = "") -> Source:
    """Open a manifest, a text (`-` is standard input), or a folder or glob of audio, without what lies under `own`.

    Of a topic, the messages that a drain stored under `own`.

    Raises `bad_usage`.
    """
    name, kind = operation.main_input, operation.inputs[operation.main_input]
    try:
        if url == "-":
            path = scratch / "stdin.txt"
            with path.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            return Source("-", _digest(path), os.getcwd(), text.read(path, name, split))
        if url.startswith(KAFKA):
            path = _local(f"{own}{topic.MESSAGES}", scratch, ".messages")
            return Source(url, _digest(path), "", topic.rows(path), claims=True)
        url = storage.canonical(url)
        suffix = os.path.splitext(url)[1].lower()
        magic = folder.storage_has_magic(url)
        if suffix in MANIFESTS and not magic:
            path = _local(url, scratch, suffix)
            return Source(url, _digest(path), url.rpartition("/")[0], manifest.read(path, suffix))
        if kind == "audio" and (magic or suffix != ".txt"):
            return _audio(url, name, own)
        path = _local(url, scratch, suffix)
        return Source(url, _digest(path), url.rpartition("/")[0], text.read(path, name, split))
    except WavemillError as error:
        if error.code.startswith("input_"):
            raise WavemillError("bad_usage", f"cannot read SOURCE: {error.detail}", "source") from error
        raise


def _audio(url: str, name: str, own: str) -> Source:
    if not folder.storage_has_magic(url) and os.path.splitext(url.partition("?")[0])[1].lower() in folder.SUFFIXES:
        found = [storage.look(url)]
    else:
        found = [entry for entry in folder.list_audio(url) if not (own and entry.url.startswith(own))]
    if not found:
        raise WavemillError("bad_usage", f"no audio file in {url}", "source")
    digest = hashlib.sha256("\n".join(f"{e.url} {e.version}" for e in found).encode()).hexdigest()
    return Source(url, digest, url, folder.read(found, name), found)


def _local(url: str, scratch: Path, suffix: str) -> Path:
    if storage.is_local(url):
        if os.path.isdir(url):
            raise WavemillError("bad_usage", f"{url} is a folder; give a manifest or a text file", "source")
        with storage.open_input(url):
            return Path(url)
    path = scratch / f"source{suffix}"
    with storage.open_input(url) as opened, path.open("wb") as file:
        shutil.copyfileobj(opened.file, file, 1 << 20)
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
