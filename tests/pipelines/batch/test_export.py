"""Outputs as files named for people: each under the name that was asked for, or none at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.batch import export
from transforms.errors import WavemillError
from transforms.store import Store

from .conftest import SETTINGS, Runner
from .test_bad_input import wav

ROWS: list[dict[str, Any] | str] = [
    {"id": "one", "text": "the first", "speaker": "Ann", "status": "new", "language": "en", "path": "a/b", "tags": ["x/y"]},
    {"id": "Two", "text": "the second", "speaker": "Bob", "status": "old", "language": "fr", "path": "../../up"},
    {"id": "bad", "text": "bad", "speaker": "Ann"},
    {"id": "four", "text": "the fourth", "speaker": "Ann", "status": "new", "language": "en", "path": "/etc/passwd"},
    {"id": "two", "text": "the fifth", "speaker": "Bob", "status": "old", "language": "en", "path": ".."},
]


def publish(folder: Path, rows: list[dict[str, Any] | str]) -> Runner:
    runner = Runner(folder, str(folder / "out"))
    runner.write(rows)
    runner.run(options={"fail_on": "bad"})
    return runner


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A published OUT of four rows that are done and one that failed."""
    return publish(tmp_path_factory.mktemp("spoken"), ROWS)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A published OUT of the first row."""
    return publish(tmp_path_factory.mktemp("alone"), ROWS[:1])


def files(target: str) -> dict[str, bytes]:
    store = Store(target)
    return {entry.url: store.read(entry.url) or b"" for entry in store.entries("")}


def blob_of(runner: Runner, index: int) -> bytes:
    return Path(runner.manifest()[index]["uri"]).read_bytes()


def test_every_output_is_copied_whole_under_its_name_to_any_storage(spoken: Runner, out: str) -> None:
    assert export.export(spoken.out, out, "{speaker}/{index:03}-{id}.{ext}", SETTINGS) == 4
    names = ["Ann/000-one.wav", "Ann/003-four.wav", "Bob/001-Two.wav", "Bob/004-two.wav"]
    assert files(out) == {name: blob_of(spoken, int(name[4:7])) for name in names}, "and a failed row has no file"


def test_what_is_published_on_object_storage_is_exported_from_there(s3: str, tmp_path: Path) -> None:
    runner = Runner(tmp_path, s3)
    runner.write([{"id": "a", "text": "one"}])
    runner.run()
    assert export.export(s3, str(tmp_path / "files"), "{id}.{ext}", SETTINGS) == 1
    assert list(files(str(tmp_path / "files")).values()) == list(runner.blobs().values())


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("{index}.wav", "0.wav"),
        ("{index}-{name}.{ext}", "0-audio.wav"),
        ("{index}/{language}/{status}.wav", "0/en/new.wav"),
        ("{index}-{path}", "0-a_b"),
        ("{index}-{tags}", "0-['x_y']"),
        ("all of it/{index:>3}{{}}", "all of it/  0{}"),
        ("{index} {speaker:.1}", "0 A"),
    ],
)
def test_a_pattern_may_use_any_column_and_only_the_pattern_makes_folders(alone: Runner, tmp_path: Path, pattern: str, first: str) -> None:
    assert export.export(alone.out, str(tmp_path / "files"), pattern, SETTINGS) == 1
    assert list(files(str(tmp_path / "files"))) == [first]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("clip.{ext}", "to two outputs"),
        ("{id}.{ext}", "to two outputs"),  # Two and two are one file where case does not count
        ("{speaker}/{language}", "to two outputs"),
        ("{nobody}.wav", "no field 'nobody'"),
        ("{id.__class__}", "no field"),
        ("{}", "no field"),
        ("{id:d}", "format code"),
        ("{id", "expected '}'"),
        ("", "outside the folder"),
        ("../{index}.wav", "outside the folder"),
        ("a/../../{index}.wav", "outside the folder"),
        ("/tmp/{index}.wav", "outside the folder"),
        ("{index}/..", "outside the folder"),
        ("{index}/", "outside the folder"),
        ("{index}/{path}", "outside the folder"),
        ("{index}/{tags}", "no field 'tags'"),  # of the second row
    ],
)
def test_a_pattern_that_names_two_files_alike_or_leaves_the_folder_is_refused_before_any_copy(
    spoken: Runner, tmp_path: Path, pattern: str, said: str
) -> None:
    with pytest.raises(WavemillError) as caught:
        export.export(spoken.out, str(tmp_path / "files"), pattern, SETTINGS)
    assert (caught.value.code, caught.value.field) == ("bad_usage", "name") and said in caught.value.detail
    assert not (tmp_path / "files").exists()


def test_an_id_that_is_a_way_out_of_the_folder_is_refused_or_stays_inside(runner: Runner) -> None:
    runner.write([{"id": "../../x", "text": "one"}, {"id": "..", "text": "two"}])
    runner.run()
    target = runner.folder / "files"
    with pytest.raises(WavemillError, match="outside the folder"):
        export.export(runner.out, str(target), "{id}", SETTINGS)
    assert not target.exists()
    export.export(runner.out, str(target), "{id}.wav", SETTINGS)
    assert sorted(files(str(target))) == ["...wav", ".._.._x.wav"]


def test_rows_that_share_an_output_may_share_a_file(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "same"}, {"id": "a", "text": "same"}, {"id": "b", "text": "same"}])
    runner.run()
    assert export.export(runner.out, str(runner.folder / "files"), "{id}.wav", SETTINGS) == 2
    runner.write([{"id": "a", "text": "same"}, {"id": "A", "text": "same"}])
    runner.run(allow_shrink=True)
    with pytest.raises(WavemillError, match="two outputs"):
        export.export(runner.out, str(runner.folder / "again"), "{id}.wav", SETTINGS)


def test_an_item_with_several_outputs_has_a_file_for_each(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    runner.write([{"audio": "a.wav", "id": "a"}])
    runner.run(operation="transcribe", options={"formats": "srt,txt"})
    export.export(runner.out, str(runner.folder / "files"), "{id}.{ext}", SETTINGS)
    assert sorted(files(str(runner.folder / "files"))) == ["a.json", "a.srt", "a.txt"]
    with pytest.raises(WavemillError, match="two outputs"):
        export.export(runner.out, str(runner.folder / "again"), "{id}", SETTINGS)


def test_without_a_published_manifest_there_is_nothing_to_export(runner: Runner) -> None:
    with pytest.raises(WavemillError, match="no published manifest") as caught:
        export.export(runner.out, str(runner.folder / "files"), "{id}", SETTINGS)
    assert caught.value.kind == "usage"


def test_an_output_that_is_gone_is_not_left_out_in_silence(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "one"}, {"id": "b", "text": "two"}])
    runner.run()
    Path(runner.manifest()[1]["uri"]).unlink()
    with pytest.raises(WavemillError, match="run again") as caught:
        export.export(runner.out, str(runner.folder / "files"), "{id}", SETTINGS)
    assert (caught.value.code, caught.value.kind) == ("incomplete", "system")
