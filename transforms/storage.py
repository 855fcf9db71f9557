"""Reading inputs and keeping outputs, through fsspec: the one place that knows local disk from object storage."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn

import fsspec
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from transforms.errors import WavemillError, is_full, temporary_full

BATCH = 32
"""Requests to object storage in flight at once."""
FOLDERS = 8
"""Folders of object storage that are listed at once."""
FLAT = 50_000
"""Files that are listed at once, and held, whatever folders they are in."""
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


def _network_errors() -> tuple[type[BaseException], ...]:
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
    except _network_errors() as error:
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


def _lacks_credentials(error: BaseException) -> bool:
    if "botocore.exceptions" not in sys.modules:
        return False
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    return isinstance(error, NoCredentialsError | PartialCredentialsError)


def _raise_system(url: str, error: BaseException) -> NoReturn:
    if _lacks_credentials(error):
        ways = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, where this runs"
        raise WavemillError("storage_forbidden", f"{url}: {error}; {ways}") from error
    if isinstance(error, PermissionError) or (isinstance(error, OSError) and error.errno == errno.EROFS):
        raise WavemillError("storage_forbidden", f"{url}: permission denied") from error
    if is_full(error):
        raise WavemillError("storage_full", f"{url}: no space left; free some, then run the same command again") from error
    raise WavemillError("storage_unavailable", f"{url}: {type(error).__name__}: {error}") from error


def _passes(error: BaseException) -> bool:
    """Whether waiting may help: not for what is gone, forbidden, full or no name."""
    if (
        is_full(error)
        or _lacks_credentials(error)
        or (isinstance(error, OSError) and error.errno in (errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG))
    ):
        return False
    return isinstance(error, _network_errors()) and not isinstance(error, FileNotFoundError | PermissionError | FileExistsError)


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
                elif (seen := _stat(entry)) is not None:
                    found.append(Entry(entry.path, seen.st_size, f"{seen.st_size}-{seen.st_mtime}", seen.st_mtime))
    return sorted(found, key=lambda entry: entry.url)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Of what is a file, also by a link; None of a link to nothing or to a folder, and of what has just gone."""
    try:
        found = entry.stat()
    except OSError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else found


class Store:
    """A folder at a URL in which a run keeps what it makes. Names are relative; every write is whole or not at all.

    Raises `storage_full`, `storage_forbidden`, or, after `patience_s` seconds of retries, `storage_unavailable`.
    """

    def __init__(self, url: str, patience_s: float = 60.0) -> None:
        self.url = canonical(url).rstrip("/") or "/"
        self.patience_s = patience_s
        self.local = Path(self.url) if is_local(self.url) else None
        if self.local and "\\" in self.url and any(mark in self.url for mark in "*?["):
            # no escape that DuckDB knows reads it
            raise WavemillError("bad_usage", f"{self.url}: a folder's name cannot hold a backslash beside *, ? or [", "out")
        if self.local and self.local.is_file():
            raise WavemillError("bad_usage", f"{self.url} is a file; OUT is a folder", "out")
        self._fs = filesystem(self.url)
        self._made: set[str] = set()

    def __reduce__(self) -> tuple[type[Store], tuple[str, float]]:
        return Store, (self.url, self.patience_s)

    def path(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _attempt(self, name: str, action: Callable[[], Any]) -> Any:
        try:
            try:
                return action()  # the common case, without the cost of a retrying call
            except _network_errors() as error:
                if not _passes(error) or not self.patience_s:
                    raise
            return self._patient()(action)
        except (FileNotFoundError, FileExistsError):
            raise
        except _network_errors() as error:
            _raise_system(self.path(name), error)

    def _patient(self) -> Retrying:
        return Retrying(
            retry=retry_if_exception(_passes),
            stop=stop_after_delay(self.patience_s),
            wait=wait_exponential_jitter(multiplier=0.2, max=5.0),
            reraise=True,
        )

    def _writing(self, name: str, action: Callable[[], Any]) -> Any:
        try:
            return self._attempt(name, action)
        except FileNotFoundError as error:
            _raise_system(self.path(name), error)

    def _place(self, name: str) -> str:
        path = self.path(name)
        folder = os.path.dirname(path)
        if folder not in self._made:
            os.makedirs(folder, exist_ok=True)
            self._made.add(folder)
        return path

    def _write_part(self, name: str, data: bytes, durable: bool) -> str:
        """The path of a temporary file beside the named one, with the bytes in it."""
        path = self._place(name)
        part = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(handle, view) :]
                if durable:
                    os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            self._made.discard(os.path.dirname(path))
            Path(part).unlink(missing_ok=True)
            raise
        return part

    def _write_local(self, name: str, data: bytes, durable: bool = False) -> None:
        part = self._write_part(name, data, durable)
        try:
            os.replace(part, self.path(name))
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise

    def write(self, name: str, data: bytes, durable: bool = False) -> None:
        """`durable`: on local disk the bytes outlive a power cut that comes after the file has its name."""
        if self.local:
            self._writing(name, lambda: self._write_local(name, data, durable))
        else:
            self._writing(name, lambda: self._fs.pipe_file(self.path(name), data))

    def write_many(self, files: Mapping[str, bytes]) -> None:
        if self.local:
            for name, data in files.items():
                self.write(name, data)
        elif files:
            paths = {self.path(name): data for name, data in files.items()}
            self._writing(next(iter(files)), lambda: self._fs.pipe(paths, batch_size=BATCH))

    def flush(self) -> None:
        """On local disk, what was written is on the disk afterwards; object storage has it already."""
        if self.local:
            os.sync()

    def create(self, name: str, data: bytes, durable: bool = False) -> bool:
        """Write only if nothing is there; false when something is. `durable` as in `write`."""
        try:
            if self.local:
                self._writing(name, lambda: self._create_local(name, data, durable))
            else:
                self._writing(name, lambda: self._create_object(name, data))
        except FileExistsError:
            return False
        return True

    def _create_local(self, name: str, data: bytes, durable: bool) -> None:
        path, part = self._place(name), self._write_part(name, data, durable)
        try:
            os.link(part, path)
        finally:
            os.unlink(part)

    def _create_object(self, name: str, data: bytes) -> None:
        try:
            self._fs.pipe_file(self.path(name), data, mode="create")
        except OSError as error:
            answer = getattr(error.__cause__, "response", {})
            if answer.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise FileExistsError(name) from error
            raise

    def read(self, name: str) -> bytes | None:
        """The file's bytes, or None where there is none."""
        try:
            data: bytes = self._attempt(name, lambda: self._fs.cat_file(self.path(name)))
        except FileNotFoundError:
            return None
        return data

    def read_object(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a file: None where there is no file, `{}` for one that cannot be read."""
        data = self.read(name)
        if data is None:
            return None
        try:
            found = json.loads(data)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def exists(self, name: str) -> bool:
        if self.local:
            return os.path.exists(self.path(name))
        return bool(self._attempt(name, lambda: self._fs.exists(self.path(name))))

    def entries(self, name: str) -> list[Entry]:
        """Every file below a folder, without temporary ones; entry URLs are names relative to this store."""
        try:
            found = self._attempt(name, lambda: list_folder(self.path(name), recursive=True))
        except WavemillError as error:
            if error.code == "input_not_found":
                return []
            _raise_system(self.path(name), error.__cause__ or error)
        start = len(self.url) + 1
        return [Entry(e.url[start:], e.bytes, e.version, e.modified_s) for e in found if not e.url.endswith(".tmp")]

    def sizes(self, name: str, flat: int = FLAT) -> Iterator[tuple[str, int]]:
        """As `entries`, names and bytes alone, in no order: of more than `flat` files those of a few folders at a time are held."""
        if not self.local:
            yield from self._remote_sizes(name, flat)
            return
        start = len(self.url) + 1
        folders = [self.path(name)]
        while folders:
            try:
                with os.scandir(folders.pop()) as found:
                    for entry in found:
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
                        elif not entry.name.endswith(".tmp") and (seen := _stat(entry)) is not None:
                            yield entry.path[start:], seen.st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                _raise_system(self.path(name), error)

    def _remote_sizes(self, name: str, flat: int) -> Iterator[tuple[str, int]]:
        """One listing of all is cheapest where there is little; it answers 1,000 names at a time, one answer after the other."""
        files, folders = self._look(name)
        if folders and len(folders) * len(self._look(folders[0])[0]) <= flat:
            files, folders = [(entry.url, entry.bytes) for entry in self.entries(name)], []
        yield from files
        with ThreadPoolExecutor(FOLDERS) as pool:
            while folders:
                some, folders = folders[:FOLDERS], folders[FOLDERS:]
                for files, inner in pool.map(self._look, some):
                    yield from files
                    folders += inner

    def _look(self, name: str) -> tuple[list[tuple[str, int]], list[str]]:
        """Names and bytes of the files in a folder of object storage, without temporary ones, and the names of its folders."""
        start = len(self.url.partition("://")[2]) + 1
        try:
            found = self._attempt(name, lambda: self._fs.ls(self.path(name), detail=True))
        except FileNotFoundError:
            return [], []
        names = [((one["name"].partition("://")[2] or one["name"])[start:], one) for one in found]
        files = [(name, int(one["size"] or 0)) for name, one in names if one["type"] == "file" and not name.endswith(("/", ".tmp"))]
        return files, [name for name, one in names if one["type"] == "directory"]

    def remove(self, names: Sequence[str]) -> None:
        """Remove files; those that are gone already do not matter."""
        if self.local:
            for name in names:
                self._writing(name, partial(Path(self.path(name)).unlink, missing_ok=True))
        elif names:
            self._writing(names[0], lambda: self._fs.rm([self.path(name) for name in names]))

    def upload(self, path: Path, name: str) -> None:
        """Put a local file here, whole or not at all (one rename, or a completed multipart upload)."""
        if self.local:
            self._writing(name, lambda: self._upload_local(path, name))
        else:
            self._writing(name, lambda: self._fs.put_file(str(path), self.path(name)))

    def _upload_local(self, path: Path, name: str) -> None:
        target = self._place(name)
        part = f"{target}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            shutil.copyfile(path, part)
            os.replace(part, target)
        finally:
            Path(part).unlink(missing_ok=True)

    def fetch(self, names: Sequence[str], folder: Path) -> list[Path]:
        """Local paths of the named files: themselves on local disk, else copies in `folder`."""
        if self.local:
            return [self.local / name for name in names]
        targets = [folder / name for name in names]
        for parent in {target.parent for target in targets}:
            parent.mkdir(parents=True, exist_ok=True)
        missing = [(name, target) for name, target in zip(names, targets, strict=True) if not target.exists()]
        for start in range(0, len(missing), 8 * BATCH):
            chunk = missing[start : start + 8 * BATCH]
            paths = [self.path(name) for name, _ in chunk]
            self._writing(chunk[0][0], partial(self._fs.get, paths, [str(target) for _, target in chunk], batch_size=BATCH))
        return targets

    def sweep(self, older_than_s: float) -> None:
        """Remove temporary files that a killed process left."""
        import time

        if self.local and self.local.exists():
            limit = time.time() - older_than_s
            for entry in _list_local(str(self.local), recursive=True):
                if entry.url.endswith(".tmp") and entry.modified_s < limit:
                    Path(entry.url).unlink(missing_ok=True)
