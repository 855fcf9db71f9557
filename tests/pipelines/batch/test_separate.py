"""Separate through the pipeline and from the command line, with its default engine."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import wavemill
from benchmarks.quality_separate import accompaniment, tone
from tests.pipelines.batch.conftest import Runner
from transforms import codec
from transforms.options import AudioOptions
from transforms.records import Audio

RATE_HZ = 44100


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """Six seconds in stereo: an accompaniment, and a note in the centre that is sung once."""
    music = accompaniment(6 * RATE_HZ)
    music[:, 2 * RATE_HZ :][:, :RATE_HZ] += tone(440.0, 1.0, 0.5)
    samples = (0.5 * music / np.abs(music).max()).astype(np.float32)
    path = tmp_path / "song.wav"
    path.write_bytes(codec.encode(Audio(samples, RATE_HZ), AudioOptions(format="wav")).data)
    return path


def decoded(data: bytes) -> np.ndarray:
    return np.array(codec.decode(io.BytesIO(data), None, None, 60.0).samples)


@pytest.mark.slow
def test_a_run_makes_stems_that_add_up_to_the_mix_and_a_bad_row_costs_itself(runner: Runner, song: Path) -> None:
    rows = [{"id": "a", "audio": str(song)}, {"id": "b", "audio": str(song), "stems": 3}, {"id": "c", "audio": str(song), "stems": 4}]
    runner.write([row | {"format": "flac"} for row in rows])
    summary = runner.run(operation="separate", engine="classical")
    assert (summary.done, summary.failed) == (1, {"bad_option": 2})
    done, *failed = runner.manifest()
    assert [(row["code"], "stems" in row["detail"]) for row in failed] == [("bad_option", True)] * 2
    assert "2, 4, 5 or 6" in failed[0]["detail"] and "demucs" in failed[1]["detail"]
    assert json.loads(done["fields"])["method"] == "repet-sim+centre"
    assert [output["name"] for output in done["outputs"]] == ["vocals", "instrumental"]
    assert done["uri"] == done["outputs"][0]["uri"]
    vocals, rest = (decoded(Path(output["uri"]).read_bytes()) for output in done["outputs"])
    np.testing.assert_allclose(vocals + rest, decoded(song.read_bytes()), atol=3 / 32768)
    assert np.abs(vocals).max() > 0.05


@pytest.mark.slow
def test_the_command_line_writes_a_file_for_each_stem(song: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(song.parent)
    answer = CliRunner().invoke(wavemill.root, ["separate", "song.wav", "-o", "out/", "--json"])
    assert answer.exit_code == 0, answer.output
    (report,) = json.loads(answer.stdout)["items"]
    assert report["paths"] == ["out/song.vocals.mp3", "out/song.instrumental.mp3"]
    assert (report["method"], report["duration_s"]) == ("repet-sim+centre", pytest.approx(6.0, abs=0.1))
    assert sorted(path.name for path in Path("out").iterdir()) == ["song.instrumental.mp3", "song.vocals.mp3"]
    assert decoded(Path("out/song.vocals.mp3").read_bytes()).shape[0] == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--stems", "3"], "2, 4, 5 or 6"),
        (["--stems", "4"], "demucs"),
        (["-e", "demucs", "--stems", "5"], "2, 4, 6"),
        (["-o", "-"], "standard output"),
    ],
)
def test_stems_that_cannot_be_made_end_the_command_before_any_work(args: list[str], said: str, song: Path) -> None:
    answer = CliRunner().invoke(wavemill.root, ["separate", str(song), "-o", "x.wav", *args])
    assert answer.exit_code == 2
    assert said in answer.stderr
