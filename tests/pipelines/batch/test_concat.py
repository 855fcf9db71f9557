"""One file out of many: in input order, with its pauses, at its loudness, with nothing left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pipelines.batch import concat
from transforms import codec, loudness
from transforms.errors import WavemillError
from transforms.options import AudioOptions
from transforms.provenance import PROVENANCE
from transforms.records import Audio
from transforms.storage import open_input
from transforms.store import Store

from .conftest import SETTINGS, Runner
from .test_bad_input import wav

LENGTHS_S = (0.7, 0.3, 1.1, 0.5, 0.9, 0.3)
RATE_HZ = 24000


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A published OUT of rows of different lengths, which units put in another order; the last is the second again."""
    folder = tmp_path_factory.mktemp("story")
    runner = Runner(folder, str(folder / "out"))
    runner.write([{"text": f"number {length}", "piece_s": length} for length in LENGTHS_S])
    assert runner.run(unit_items=2).done == len(LENGTHS_S)
    return runner


def join(runner: Runner, target: str | Path, pause_s: float = 0.5, **options: Any) -> concat.Joined:
    name = str(target)
    return concat.join(runner.out, name, SETTINGS, pause_s, AudioOptions.parse({"format": name.rpartition(".")[2], **options}))


def read(target: str | Path) -> Audio:
    with open_input(str(target)) as opened:
        return codec.decode(opened.file, None, None, 3600)


def sounds_s(audio: Audio) -> list[float]:
    """The lengths of the stretches that are not silent."""
    loud = np.abs(audio.samples[0]) > 0
    loud = np.convolve(loud, np.ones(9), "same") > 0  # a tone crosses zero
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    return [(end - start) / audio.rate_hz for start, end in edges.reshape(-1, 2)]


def test_rows_are_joined_in_input_order_with_their_pauses_between(story: Runner, tmp_path: Path) -> None:
    joined = join(story, tmp_path / "story.wav", 0.5)
    audio = read(tmp_path / "story.wav")
    assert sounds_s(audio) == pytest.approx(LENGTHS_S, abs=0.001)
    assert audio.frames == round((sum(LENGTHS_S) + 5 * 0.5) * RATE_HZ)
    assert (joined.items, joined.target) == (6, str(tmp_path / "story.wav"))


def test_without_pause_or_loudness_the_samples_are_those_of_the_parts(story: Runner, tmp_path: Path) -> None:
    join(story, tmp_path / "story.wav", 0.0)
    parts = [read(row["uri"]).samples for row in story.manifest()]
    assert np.array_equal(read(tmp_path / "story.wav").samples, np.concatenate(parts, axis=1))


@pytest.mark.parametrize("format", ["wav", "flac", "mp3", "ogg", "opus", "m4a", "aac"])
def test_the_whole_is_as_long_as_its_parts_and_pauses(story: Runner, tmp_path: Path, format: str) -> None:
    joined = join(story, tmp_path / f"story.{format}", 0.25)
    expected_s = sum(LENGTHS_S) + 5 * 0.25
    assert joined.duration_s == pytest.approx(expected_s, abs=0.05)
    padding_s = 0.085 if format == "aac" else 0.05  # a bare AAC stream cannot say where its two frames of padding are
    assert read(tmp_path / f"story.{format}").duration_s == pytest.approx(expected_s, abs=padding_s)


@pytest.mark.parametrize(("format", "lufs", "true_peak"), [("wav", -16, -1), ("mp3", -16, -1), ("opus", -23, -3), ("m4a", -14, -2)])
def test_the_whole_has_the_loudness_that_was_asked_for_under_its_ceiling(
    story: Runner, tmp_path: Path, format: str, lufs: float, true_peak: float
) -> None:
    target = tmp_path / f"story.{format}"
    joined = join(story, target, loudness=lufs, true_peak=true_peak)
    measured = loudness.measure(read(target))
    assert measured.lufs == pytest.approx(lufs, abs=0.3) and measured.true_peak_dbtp <= true_peak
    assert (joined.lufs, joined.true_peak_dbtp) == (round(measured.lufs, 2), round(measured.true_peak_dbtp, 2)), "told as measured"


@pytest.mark.parametrize(("format", "bitrate"), [("mp3", 8), ("m4a", 128)])
def test_the_ceiling_holds_in_the_file_although_its_codec_rings_over_it(story: Runner, tmp_path: Path, format: str, bitrate: int) -> None:
    target = tmp_path / f"story.{format}"
    join(story, target, loudness=-10, true_peak=-5, bitrate=bitrate)
    assert -7 < loudness.measure(read(target)).true_peak_dbtp <= -5


def test_quiet_and_loud_rows_keep_their_difference(runner: Runner) -> None:
    runner.write([{"text": "same", "loudness": lufs, "piece_s": 1} for lufs in (-30, -20)])
    runner.run()
    join(runner, runner.folder / "story.wav", 0.0, loudness=-18)
    soft, loud = np.split(read(runner.folder / "story.wav").samples[0], 2)
    assert 20 * np.log10(loud.std() / soft.std()) == pytest.approx(10, abs=0.1)


def test_a_row_without_audio_is_named_and_nothing_is_written(runner: Runner) -> None:
    runner.write([{"id": "a", "text": "one"}, {"id": "b", "text": "bad"}, {"id": "c", "text": "x", "voice": "nobody"}])
    runner.run(options={"fail_on": "bad"})
    with pytest.raises(WavemillError, match=r"2 rows .* \(b, c\); `wavemill replay`") as caught:
        join(runner, runner.folder / "story.wav")
    assert caught.value.code == "bad_usage" and not (runner.folder / "story.wav").exists()


def test_transcripts_are_not_joined(runner: Runner) -> None:
    (runner.folder / "a.wav").write_bytes(wav(1))
    runner.write([{"audio": "a.wav"}])
    runner.run(operation="transcribe")
    with pytest.raises(WavemillError, match="makes no audio") as caught:
        join(runner, runner.folder / "story.wav")
    assert caught.value.code == "bad_usage"


def test_an_out_that_is_not_published_is_not_joined(runner: Runner) -> None:
    with pytest.raises(WavemillError) as caught:
        join(runner, runner.folder / "story.wav")
    assert caught.value.code == "bad_usage"


def test_rows_of_other_rates_and_channels_become_like_the_first(runner: Runner) -> None:
    shapes = [(16000, "mono"), (48000, "stereo"), (8000, "mono")]
    runner.write([{"text": f"{rate_hz}", "sample_rate": rate_hz, "channels": channels, "piece_s": 0.4} for rate_hz, channels in shapes])
    runner.run()
    join(runner, runner.folder / "deep" / "story.wav", 0.5)
    audio = read(runner.folder / "deep" / "story.wav")
    assert (audio.rate_hz, audio.channels) == (16000, 1) and audio.duration_s == pytest.approx(3 * 0.4 + 2 * 0.5, abs=0.005)
    assert all(0.25 < abs(audio.samples[0, start : start + 3200]).max() < 0.35 for start in (1600, 16000, 30400))


def comment_of(target: Path) -> str:
    with av.open(str(target)) as file:
        return (file.metadata | file.streams.audio[0].metadata).get("comment", "")


def test_what_is_made_of_cloned_speech_says_so_in_every_format_and_nothing_else_does(runner: Runner, story: Runner, tmp_path: Path) -> None:
    tone = Audio(np.full((1, RATE_HZ), 0.1, np.float32), RATE_HZ)
    formats = ("wav", "flac", "mp3", "ogg", "opus", "m4a", "aac")
    for name, comment in (
        *((f"cloned.{format}", f"{PROVENANCE}, for Ann") for format in formats),
        ("own.wav", ""),
        ("named.mp3", "by Ann"),
    ):
        options = AudioOptions.parse({"format": name.rpartition(".")[2]})
        (tmp_path / name).write_bytes(codec.encode(tone, options, comment).data)
    rows = [f"cloned.{format}" for format in formats] + ["own.wav", "named.mp3"]
    runner.write([{"audio": name} for name in rows])
    assert runner.run(operation="convert", engine="pyav").done == len(rows)
    for name, row in zip(rows, runner.manifest(), strict=True):
        tag = PROVENANCE if name.startswith("cloned") else ""
        assert (json.loads(row["fields"] or "{}").get("provenance", ""), comment_of(Path(row["uri"]))) == (tag, tag), name
    for format in formats:
        join(runner, tmp_path / f"whole.{format}")
        assert comment_of(tmp_path / f"whole.{format}") == PROVENANCE
    join(story, tmp_path / "story.mp3")
    assert comment_of(tmp_path / "story.mp3") == ""


def test_object_storage_is_read_and_written(s3: str, tmp_path: Path) -> None:
    runner = Runner(tmp_path, s3)
    runner.write([{"text": "one"}, {"text": "two"}])
    runner.run()
    target = f"{s3}-joined/story.wav"
    join(runner, target, 0.1)
    assert read(target).duration_s == pytest.approx(0.3) and len(Store(f"{s3}-joined").entries("")) == 1
