"""Manifests: JSON lines, CSV, TSV and Parquet, a row an item."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa

from transforms import sql
from transforms.errors import WavemillError

SCHEMA = pa.schema([("row", pa.string()), ("problem", pa.string())])
"""What a source yields: each row as a JSON object, or what is wrong with it."""

BATCH, BATCH_LETTERS = 65_536, 16 << 20
LONGEST_ROW = 4 << 20
"""Characters of a row as JSON; a text of `max_chars` is far below."""


def batches(rows: Iterable[tuple[str | None, str | None]]) -> Iterator[pa.RecordBatch]:
    """Pairs (JSON row, problem) as record batches of `SCHEMA`."""
    texts: list[str | None] = []
    problems: list[str | None] = []
    letters = 0
    for row, problem in rows:
        if row is not None and len(row) > LONGEST_ROW:
            problem, row = f"the row is {len(row)} characters long, more than {LONGEST_ROW}", None
        texts.append(row)
        problems.append(problem)
        letters += len(row or "")
        if len(texts) == BATCH or letters > BATCH_LETTERS:
            letters = 0
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
    return batches(_json(path) if suffix == ".json" else _json_lines(path))


def _json(path: Path) -> Iterator[tuple[str | None, str | None]]:
    """A `.json` file is one array of rows, or lines."""
    with path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")
    return _json_array(path) if start.startswith(b"[") else _json_lines(path)


def _json_lines(path: Path) -> Iterator[tuple[str | None, str | None]]:
    with path.open("rb") as file:
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
    except (ValueError, RecursionError) as error:
        raise WavemillError("bad_usage", f"the manifest is not a JSON array: {error}", "source") from None
    for number, row in enumerate(rows, 1):
        text = json.dumps(row, ensure_ascii=False)
        try:
            text.encode()
        except UnicodeEncodeError:
            yield None, f"row {number} is not valid Unicode"
        else:
            yield text, None


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
            rows = con.sql(f"SELECT to_json(t)::VARCHAR AS row, NULL::VARCHAR AS problem FROM read_parquet({sql.file(path)}) t")
        except duckdb.Error as error:
            raise WavemillError("bad_usage", f"the manifest is not Parquet: {error}", "source") from None
        yield from rows.to_arrow_reader(BATCH)
