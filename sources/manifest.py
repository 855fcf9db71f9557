"""Manifests: JSON lines, CSV, TSV and Parquet, a row an item."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from transforms.errors import WavemillError

SCHEMA = pa.schema([("row", pa.string()), ("problem", pa.string())])
"""What a source yields: each row as a JSON object, or what is wrong with it."""

BATCH = 65_536


def batches(rows: Iterable[tuple[str | None, str | None]]) -> Iterator[pa.RecordBatch]:
    """Pairs (JSON row, problem) as record batches of `SCHEMA`."""
    texts: list[str | None] = []
    problems: list[str | None] = []
    for row, problem in rows:
        texts.append(row)
        problems.append(problem)
        if len(texts) == BATCH:
            yield pa.record_batch([pa.array(texts, pa.string()), pa.array(problems, pa.string())], schema=SCHEMA)
            texts, problems = [], []
    if texts:
        yield pa.record_batch([pa.array(texts, pa.string()), pa.array(problems, pa.string())], schema=SCHEMA)


def read(path: Path, suffix: str) -> Iterator[pa.RecordBatch]:
    """The rows of a manifest file, by its suffix."""
    if suffix == ".parquet":
        return _parquet(path)
    if suffix in (".csv", ".tsv"):
        return batches(_csv(path, "\t" if suffix == ".tsv" else ","))
    return batches(_json_lines(path))


def _json_lines(path: Path) -> Iterator[tuple[str | None, str | None]]:
    with path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith(b"["):
            yield from _json_array(path)
            return
        file.seek(0)
        for number, raw in enumerate(file, 1):
            line = raw.strip(b"\xef\xbb\xbf \t\r\n")
            if line:
                try:
                    yield line.decode(), None
                except UnicodeDecodeError:
                    yield None, f"line {number} is not UTF-8"


def _json_array(path: Path) -> Iterator[tuple[str | None, str | None]]:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise WavemillError("bad_usage", f"the manifest is not a JSON array: {error}") from None
    for row in rows:
        yield json.dumps(row, ensure_ascii=False), None


def _csv(path: Path, delimiter: str) -> Iterator[tuple[str | None, str | None]]:
    csv.field_size_limit(1 << 30)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        names = next(reader, [])
        for values in reader:
            if not values:
                continue
            if len(values) != len(names):
                yield None, f"line {reader.line_num} has {len(values)} columns, the header {len(names)}"
                continue
            row = json.dumps({name: value for name, value in zip(names, values, strict=True) if value != ""}, ensure_ascii=False)
            try:
                row.encode()
            except UnicodeEncodeError:
                yield None, f"line {reader.line_num} is not UTF-8"
            else:
                yield row, None


def _parquet(path: Path) -> Iterator[pa.RecordBatch]:
    with duckdb.connect(config={"threads": 1, "preserve_insertion_order": True}) as con:
        try:
            rows = con.sql(
                "SELECT to_json(t)::VARCHAR AS row, NULL::VARCHAR AS problem FROM read_parquet($path) t", params={"path": str(path)}
            )
        except duckdb.Error as error:
            raise WavemillError("bad_usage", f"the manifest is not Parquet: {error}") from None
        yield from rows.to_arrow_reader(BATCH)
