"""Keeping what a run makes, on local disk or on object storage: whole writes, exclusive creation, patience with what passes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from transforms.errors import WavemillError, is_full
from transforms.storage import BATCH, Entry, canonical, filesystem, is_local, list_folder, network_errors, stat_of

FOLDERS = 8
"""Folders of object storage that are listed at once."""
FLAT = 50_000
"""Files that are listed at once, and held, whatever folders they are in."""


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
    return isinstance(error, network_errors()) and not isinstance(error, FileNotFoundError | PermissionError | FileExistsError)


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
            except network_errors() as error:
                if not _passes(error) or not self.patience_s:
                    raise
            return self._patient()(action)
        except (FileNotFoundError, FileExistsError):
            raise
        except network_errors() as error:
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
                        elif not entry.name.endswith(".tmp") and (seen := stat_of(entry)) is not None:
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
            for entry in list_folder(str(self.local), recursive=True):
                if entry.url.endswith(".tmp") and entry.modified_s < limit:
                    Path(entry.url).unlink(missing_ok=True)
