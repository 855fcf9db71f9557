"""A folder or a glob of audio: an item a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pyarrow as pa

from sources.manifest import batches
from transforms import storage

SUFFIXES = frozenset(
    [
        ".mp3",
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".m4a",
        ".mp4",
        ".aac",
        ".webm",
        ".wma",
        ".aiff",
        ".aif",
        ".aifc",
        ".caf",
        ".amr",
        ".ac3",
        ".mka",
        ".mkv",
        ".mov",
        ".au",
        ".wv",
        ".ape",
        ".mp2",
        ".3gp",
    ]
)


def list_audio(url: str) -> list[storage.Entry]:
    """The audio files of a folder (with those below it) or of a glob, by name; a glob takes what it names."""
    if storage_has_magic(url):
        return storage.glob(url)
    found = storage.list_folder(url, recursive=True)
    return [entry for entry in found if os.path.splitext(entry.url)[1].lower() in SUFFIXES]


def storage_has_magic(url: str) -> bool:
    """Whether the URL is a pattern; a name with brackets that exists is a name, and so is an address of the web with a query."""
    if not any(mark in url for mark in "*?[") or storage.protocol(url) in ("http", "https"):
        return False
    return not (storage.is_local(url) and os.path.exists(url))


def read(entries: list[storage.Entry], name: str) -> Iterator[pa.RecordBatch]:
    return batches((json.dumps({name: entry.url}, ensure_ascii=False), None) for entry in entries)
