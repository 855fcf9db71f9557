"""Every kind of SOURCE gives the same rows."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, strategies as st

from sources.manifest import read
from sources.open import open_source
from transforms.errors import WavemillError
from transforms.operations import OPERATIONS

SPEAK, HEAR = OPERATIONS["synthesize"], OPERATIONS["transcribe"]


def rows(batches: Any) -> list[Any]:
    return [
        json.loads(row) if row is not None else problem
        for batch in batches
        for row, problem in zip(*batch.to_pydict().values(), strict=True)
    ]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["text", "voice", "x"]), st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1)
    )
)
def test_json_lines_csv_and_parquet_hold_the_same_rows(tmp_path_factory: pytest.TempPathFactory, table: list[dict[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("rows")
    table = [{key: value.replace("\r", " ").replace("\0", "") or "x" for key, value in row.items()} for row in table]
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table), encoding="utf-8")
    assert rows(read(folder / "m.jsonl", ".jsonl")) == table
    names = sorted({name for row in table for name in row})
    if not names:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(table)
    (folder / "m.csv").write_bytes(text.getvalue().encode())
    assert rows(read(folder / "m.csv", ".csv")) == table
    pq.write_table(pa.table({name: pa.array([row.get(name) for row in table], pa.string()) for name in names}), folder / "m.parquet")
    assert [{k: v for k, v in row.items() if v is not None} for row in rows(read(folder / "m.parquet", ".parquet"))] == table


def test_a_broken_line_is_its_own_problem(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"text": "a"}\n\xff\xfe\n\n{"text": "b"}\n')
    assert rows(read(path, ".jsonl")) == [{"text": "a"}, "line 2 is not UTF-8", {"text": "b"}]
    path = tmp_path / "m.csv"
    path.write_bytes(b"text,voice\na,v\nb\nc,v\n")
    assert rows(read(path, ".csv"))[1] == "line 3 has 1 columns, the header 2"


def test_a_json_array_is_a_manifest_too(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('[{"text": "a"}, {"text": "b"}]')
    assert rows(open_source(str(tmp_path / "m.json"), SPEAK, "line", tmp_path).rows) == [{"text": "a"}, {"text": "b"}]


@pytest.mark.parametrize(
    ("split", "expected"),
    [("line", ["one", "two", "three"]), ("paragraph", ["one\ntwo", "three"]), ("file", ["one\ntwo\n\nthree"])],
)
def test_a_text_is_split_by_line_paragraph_or_not_at_all(tmp_path: Path, split: Any, expected: list[str]) -> None:
    (tmp_path / "t.txt").write_text("one\ntwo\n\nthree\n")
    assert [row["text"] for row in rows(open_source(str(tmp_path / "t.txt"), SPEAK, split, tmp_path).rows)] == expected


def test_a_dash_is_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b"hello\nworld\n")

    monkeypatch.setattr(sys, "stdin", Input)
    assert [row["text"] for row in rows(open_source("-", SPEAK, "line", tmp_path).rows)] == ["hello", "world"]


def test_a_folder_and_a_glob_give_an_item_a_file(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.wav", "a.MP3", "notes.txt", "deep/c.flac"):
        (tmp_path / name).write_bytes(b"x")
    found = open_source(str(tmp_path), HEAR, "line", tmp_path)
    assert [row["audio"].removeprefix(f"{tmp_path}/") for row in rows(found.rows)] == ["a.MP3", "b.wav", "deep/c.flac"]
    assert len(found.listing) == 3 and all(entry.version for entry in found.listing)
    assert len(rows(open_source(f"{tmp_path}/*.wav", HEAR, "line", tmp_path).rows)) == 1
    assert len(rows(open_source(f"{tmp_path}/b.wav", HEAR, "line", tmp_path).rows)) == 1


def test_the_version_of_a_source_follows_its_content(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    versions = []
    for text in ("a", "b", "a"):
        path.write_text(json.dumps({"text": text}))
        versions.append(open_source(str(path), SPEAK, "line", tmp_path).version)
    assert versions[0] == versions[2] != versions[1]


@pytest.mark.parametrize("source", ["missing.jsonl", "missing.txt", ".", "*.wav"])
def test_a_source_that_is_not_there_is_bad_usage(tmp_path: Path, source: str) -> None:
    with pytest.raises(WavemillError) as caught:
        open_source(str(tmp_path / source), HEAR if "wav" in source else SPEAK, "line", tmp_path)
    assert caught.value.code == "bad_usage"
