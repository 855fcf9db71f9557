"""Exporting an OUT: its outputs as files named for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from string import Formatter
from typing import Any

import pyarrow.parquet as pq

from pipelines.batch import publish as publishing
from sinks import blobs
from transforms import storage
from transforms.errors import WavemillError
from transforms.settings import Settings
from transforms.store import Store

LONGEST_NAME = 255
FIELDS = ("id", "index", "key", "ext", "name", "language")


def manifest_rows(store: Store, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the published manifest in order, a row group at a time. Raises `bad_usage` where there is none."""
    if not store.exists(publishing.MANIFEST):
        raise WavemillError("bad_usage", f"{store.url} has no published manifest; run or publish it first", "out")
    path = store.path(publishing.MANIFEST)
    with storage.filesystem(store.url).open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(8192, columns=columns):
            yield from batch.to_pylist()


def export(out: str, target: str, pattern: str, settings: Settings) -> int:
    """Copy every output to `target` under the name `pattern` gives it; the number of files.

    The pattern's fields are `id, index, key, ext, name, language` and the columns of the original row. Raises `bad_usage`,
    before anything is copied, for an unknown field, a name outside the folder, or two outputs of one name.
    """
    store, folder = Store(out, settings.storage_patience_s), Store(target, settings.storage_patience_s)
    names: dict[str, tuple[str, str]] = {}
    for row in manifest_rows(store, ["index", "id", "key", "status", "language", "outputs", "input"]):
        if row["status"] != "done":
            continue
        given = json.loads(row["input"]) if "{" in row["input"] else {}
        for output in row["outputs"]:
            own = {"id": row["id"], "index": row["index"], "key": row["key"], "ext": output["format"], "name": output["name"]}
            name = _name(pattern, {**given, **own, "language": row["language"] or given.get("language")})
            twin = names.setdefault(name.casefold(), (name, output["uri"]))
            if twin != (name, output["uri"]):
                raise WavemillError(
                    "bad_usage", f"--name {pattern!r} gives {name!r} to two outputs; add {{index}}, {{name}} or {{ext}} to it", "name"
                )
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda pair: _copy(store, folder, *pair), names.values()):
            pass
    return len(names)


def _name(pattern: str, fields: dict[str, Any]) -> str:
    try:
        wanted = {field for _, field, _, _ in Formatter().parse(pattern) if field is not None}
        # A value is one path segment: only the pattern itself makes folders.
        values = {field: value if isinstance(value := fields[field], int | float) else str(value).replace("/", "_") for field in wanted}
        name = pattern.format(**values)
    except KeyError as error:
        raise WavemillError(
            "bad_usage", f"--name {pattern!r}: no field {error}; there are {', '.join(FIELDS)} and the row's columns", "name"
        ) from None
    except (ValueError, IndexError) as error:
        raise WavemillError("bad_usage", f"--name {pattern!r}: {error}", "name") from None
    path = PurePosixPath(name)
    if any(len(part.encode(errors="surrogateescape")) > LONGEST_NAME for part in path.parts):
        raise WavemillError("bad_usage", f"--name {pattern!r} gives a name of more than {LONGEST_NAME} bytes: {name[:40]}...", "name")
    if path.is_absolute() or ".." in path.parts or not path.name or name.endswith("/") or "\0" in name:
        raise WavemillError("bad_usage", f"--name {pattern!r} gives {name!r}, outside the folder", "name")
    return name


def _copy(store: Store, folder: Store, name: str, uri: str) -> None:
    data = store.read(blobs.within(uri))
    if data is None:
        raise WavemillError("incomplete", f"{uri} is gone; run again to make it anew")
    folder.write(name, data)
