"""Plain text: an item a line, a paragraph, or the whole file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from sources.manifest import batches


def read(path: Path, name: str, split: str) -> Iterator[pa.RecordBatch]:
    """Rows `{name: text}`; `split` is `line`, `paragraph` (blank lines between) or `file`. Empty ones are skipped."""
    return batches(_rows(path, name, split))


def _rows(path: Path, name: str, split: str) -> Iterator[tuple[str | None, str | None]]:
    if split == "line":
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                yield from _row(raw, name, f"line {number}")
    else:
        data = path.read_bytes()
        for number, part in enumerate(re.split(rb"\r?\n[ \t]*\r?\n", data) if split == "paragraph" else [data], 1):
            yield from _row(part, name, f"{split} {number}")


def _row(raw: bytes, name: str, where: str) -> Iterator[tuple[str | None, str | None]]:
    raw = raw.strip(b"\xef\xbb\xbf \t\r\n\f\v")
    if not raw:
        return
    try:
        yield json.dumps({name: raw.decode()}, ensure_ascii=False), None
    except UnicodeDecodeError:
        yield None, f"{where} is not UTF-8"
