"""The table of weights: every row is pinned, and only a whole folder counts as there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from transforms import engine, models
from transforms.errors import WavemillError
from transforms.models import MODELS, STAMP, File, Hub, Model

ROW = Model("toy", "echo", "CC0-1.0", ("en",), "nothing", (File("a.bin", 3, "0" * 64), File("b.bin", 2, "1" * 64)))


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_a_row_is_pinned_by_digests_or_by_a_commit_of_the_hub(row: Model) -> None:
    assert row.files
    assert row.licence
    assert row.languages
    assert row.engine in {name for table in engine.ENGINES.values() for name in table} | {"speakers"}
    if row.hub is not None:
        assert re.fullmatch(r"[0-9a-f]{40}", row.hub.revision)
    if all(file.sha256 for file in row.files):
        assert all(file.bytes for file in row.files)
    elif row.by_hand:
        assert row.hub is None
        assert any(re.search(r"-[0-9a-f]{8}\.", file.name) for file in row.files), "no name carries a checksum"
    else:
        assert row.hub is not None
        assert not row.packages, "what a package carries can be hashed, so it is"


@pytest.mark.parametrize("row", [row for row in MODELS.values() if row.packages], ids=lambda row: row.id)
def test_the_parts_of_a_row_make_all_its_files_and_no_others(row: Model) -> None:
    assert {part.file for part in row.packages} == {file.name for file in row.files}
    assert len(set(row.packages)) == len(row.packages)


def test_no_two_rows_have_one_identity_and_a_changed_digest_is_another_one() -> None:
    assert len({row.identity for row in MODELS.values()}) == len(MODELS)
    first, second = ROW.files
    assert replace(ROW, files=(replace(first, sha256="2" * 64), second)).identity != ROW.identity
    assert replace(ROW, files=(second, first)).identity != ROW.identity
    assert replace(ROW, summary="something").identity == ROW.identity


def test_a_row_without_digests_is_its_repository_and_revision() -> None:
    row = replace(ROW, files=(File("a.bin"),), hub=Hub("someone/toy", "f" * 40))
    assert row.identity == f"toy@someone/toy@{'f' * 40}"


def test_a_converter_that_changes_makes_another_identity() -> None:
    row = MODELS["piper-en_US-joe-medium"]
    assert row.derive is not None
    assert replace(row, derive=replace(row.derive, version=row.derive.version + 1)).identity != row.identity


def test_an_unknown_model_is_told_what_is_near() -> None:
    with pytest.raises(WavemillError, match="whisper-base") as caught:
        models.known("wisper-base")
    assert caught.value.code == "model_unavailable"


def _write(folder: Path, row: Model, identity: str | None = None) -> None:
    folder.mkdir(parents=True)
    for file in row.files:
        (folder / file.name).write_bytes(b"x" * (file.bytes or 0))
    files = {file.name: {"bytes": file.bytes, "sha256": file.sha256} for file in row.files}
    (folder / STAMP).write_text(json.dumps({"identity": identity or row.identity, "source": "hub", "files": files}))


def test_a_model_that_is_not_there_says_what_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(WavemillError, match="wavemill models pull kokoro-int8") as caught:
        models.folder("kokoro-int8", tmp_path)
    assert caught.value.code == "model_missing"
    assert models.state("kokoro-int8", tmp_path) == models.State("missing")


def test_only_a_folder_with_its_own_rows_stamp_and_whole_files_is_there(tmp_path: Path) -> None:
    _write(tmp_path / "toy", ROW)
    assert models.read_stamp(ROW, tmp_path) is not None
    assert models.read_stamp(replace(ROW, files=(ROW.files[0],)), tmp_path) is None, "the stamp of another row"
    (tmp_path / "toy" / "b.bin").write_bytes(b"x")
    assert models.read_stamp(ROW, tmp_path) is None, "a file of another size"
    (tmp_path / "toy" / "b.bin").unlink()
    assert models.read_stamp(ROW, tmp_path) is None, "a file that is gone"


def test_a_stamp_that_is_broken_is_none(tmp_path: Path) -> None:
    _write(tmp_path / "toy", ROW)
    (tmp_path / "toy" / STAMP).write_text('{"identity": "toy')
    assert models.read_stamp(ROW, tmp_path) is None


def test_what_is_there_is_counted_in_bytes(tmp_path: Path) -> None:
    row = MODELS["kokoro-voices"]
    _write(tmp_path / row.id, row)
    assert models.state(row.id, tmp_path) == models.State("ready", 54 * 522_240)


def test_the_table_is_read_without_a_heavy_import() -> None:
    code = "import sys, transforms.models, transforms.voices, transforms.pull; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("numpy", "onnxruntime", "huggingface_hub", "spacy", "filelock"):
        assert f"'{name}'" not in loaded
