"""Files by their URLs, through fsspec: where they are, what a folder holds, and reading inputs."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BufferedReader
from typing import Any

import fsspec

from transforms.errors import WavemillError, is_full, temporary_full

BATCH = 32
"""Requests to object storage in flight at once."""
SHA256 = "sha256:"
"""What a version begins with that a manifest gives as a digest of the bytes."""
_SIZE_AND_MTIME = re.compile(r"\d+-\d+\.\d+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One listed file: its URL, its size, its version (ETag, or size and mtime) and when it was written."""

    url: str
    bytes: int
    version: str
    modified_s: float


def protocol(url: str) -> str:
    return url.split("://", 1)[0] if "://" in url else "file"


def is_local(url: str) -> bool:
    return protocol(url) in ("file", "local")


@cache
def _filesystem(name: str) -> Any:
    if name in ("s3", "s3a"):
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs={"max_pool_connections": 2 * BATCH})
    try:
        return fsspec.filesystem(name, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        raise WavemillError("bad_usage", f"cannot reach {name}:// URLs: {error}") from None


def filesystem(url: str) -> Any:
    """The fsspec filesystem of a URL, one a process. Raises `bad_usage` for an unknown protocol."""
    return _filesystem("file" if is_local(url) else protocol(url))


def _input_filesystem(url: str) -> Any:
    try:
        return filesystem(url)
    except WavemillError as error:
        raise WavemillError("input_not_found", error.detail) from error


def canonical(url: str, base: str = "") -> str:
    """An absolute path for local files, else the URL; a relative one is taken against `base` (a folder's URL)."""
    if "://" not in url and not os.path.isabs(url) and base:
        url = f"{base.rstrip('/')}/{url}"
    if is_local(url):
        return os.path.abspath(url.split("://", 1)[1] if "://" in url else url)
    scheme, rest = url.split("://", 1)
    parts: list[str] = []
    for part in rest.split("/"):
        if part == "..":
            parts = parts[:1] + parts[1:-1]
        elif part != ".":
            parts.append(part)
    return f"{scheme}://{'/'.join(parts)}"


def _version(info: Mapping[str, Any]) -> str:
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    if "mtime" in info:
        return f"{info['size']}-{info['mtime']}"
    return ""


def network_errors() -> tuple[type[BaseException], ...]:
    """What the system, and the libraries of object storage and the web that are imported, raise."""
    found: list[type[BaseException]] = [OSError, TimeoutError]
    for module, name in (("botocore.exceptions", "BotoCoreError"), ("botocore.exceptions", "ClientError"), ("aiohttp", "ClientError")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


@contextmanager
def reading(url: str) -> Iterator[None]:
    """Turns what goes wrong while an input is read into `input_not_found`, `_forbidden` or `_unavailable`."""
    try:
        yield
    except WavemillError:
        raise
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        code, why = _answered(error)
        raise WavemillError(code, f"{url}: {why}") from error
    except PermissionError as error:
        raise WavemillError("input_forbidden", f"{url}: permission denied") from error
    except network_errors() as error:
        if is_full(error):  # what was read did not fit into a temporary file
            raise temporary_full() from error
        raise WavemillError("input_unavailable", f"{url}: {type(error).__name__}: {error}") from error


def _answered(error: BaseException) -> tuple[str, str]:
    """What a web server meant where fsspec says only that there is no file."""
    if "aiohttp" in sys.modules:
        from aiohttp import ClientError, ClientResponseError

        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ClientResponseError):
                if cause.status in (401, 403):
                    return "input_forbidden", f"the server answered {cause.status}"
                if cause.status == 429 or cause.status >= 500:
                    return "input_unavailable", f"the server answered {cause.status}"
                break
            if isinstance(cause, ClientError | TimeoutError):
                return "input_unavailable", f"{type(cause).__name__}: {cause}"
            cause = cause.__cause__ or cause.__context__
    return "input_not_found", "no such file"


@dataclass(frozen=True, slots=True)
class Opened:
    """An input opened for reading: a seekable binary file and the version it was opened at."""

    file: BufferedReader
    version: str
    bytes: int

    def matches(self, planned: str) -> bool:
        """Whether this may be the version that was planned; a `sha256:` one is computed, of unlike kinds nothing is known."""
        if planned.startswith(SHA256):
            found = hashlib.file_digest(self.file, "sha256").hexdigest()
            self.file.seek(0)
            return found == planned.removeprefix(SHA256).lower()
        alike = bool(_SIZE_AND_MTIME.fullmatch(planned)) == bool(_SIZE_AND_MTIME.fullmatch(self.version))
        return planned == self.version or not self.version or not alike


@contextmanager
def open_input(url: str) -> Iterator[Opened]:
    """Open one input. Raises `input_not_found`, `input_forbidden` or `input_unavailable`, also while it is read."""
    with reading(url):
        if is_local(url):
            with open(url.split("://", 1)[-1], "rb") as file:
                seen = os.fstat(file.fileno())
                yield Opened(file, f"{seen.st_size}-{seen.st_mtime}", seen.st_size)
        else:
            fs = _input_filesystem(url)
            info = fs.info(url)
            size = int(info.get("size") or 0)
            cached = "readahead" if size > (32 << 20) else "all"
            with fs.open(url, "rb", cache_type=cached if size else "bytes") as file:
                yield Opened(file, _version(info), size)


def look(url: str) -> Entry:
    """One file's entry, without opening it. Raises `input_not_found`, `input_forbidden` or `input_unavailable`."""
    with reading(url):
        return _entry(url, _input_filesystem(url).info(url))


def list_folder(url: str, recursive: bool = False) -> list[Entry]:
    """The files of a folder, by name. Raises `input_not_found`, `input_forbidden` or `input_unavailable`."""
    with reading(url):
        if is_local(url):
            return _list_local(url.split("://", 1)[-1], recursive)
        fs = _input_filesystem(url)
        if recursive:
            found = list(fs.find(url, detail=True).values())
        else:
            found = [info for info in fs.ls(url, detail=True) if info["type"] == "file"]
        scheme = protocol(url)
        names = ((info["name"] if "://" in info["name"] else f"{scheme}://{info['name']}", info) for info in found)
        return sorted((_entry(name, info) for name, info in names if not name.endswith("/")), key=lambda entry: entry.url)


def glob(url: str) -> list[Entry]:
    """The files that a pattern with `*`, `?` or `[...]` names, by name."""
    with reading(url):
        fs, scheme = _input_filesystem(url), protocol(url)
        found = fs.glob(url, detail=True)
        prefix = "" if is_local(url) else f"{scheme}://"
        return sorted(
            (_entry(name if "://" in name else prefix + name, info) for name, info in found.items() if info["type"] == "file"),
            key=lambda e: e.url,
        )


def _entry(name: str, info: Mapping[str, Any]) -> Entry:
    modified = info.get("LastModified") or info.get("mtime") or 0.0
    seconds = modified.timestamp() if hasattr(modified, "timestamp") else float(modified)
    return Entry(name, int(info.get("size") or 0), _version(info), seconds)


def _list_local(path: str, recursive: bool) -> list[Entry]:
    found, folders = [], [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if recursive:
                        folders.append(entry.path)
                elif (seen := stat_of(entry)) is not None:
                    found.append(Entry(entry.path, seen.st_size, f"{seen.st_size}-{seen.st_mtime}", seen.st_mtime))
    return sorted(found, key=lambda entry: entry.url)


def stat_of(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Of what is a file, also by a link; None of a link to nothing or to a folder, and of what has just gone."""
    try:
        found = entry.stat()
    except OSError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else found
