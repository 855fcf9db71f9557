"""Analyze through the pipeline, with its default engine."""

from __future__ import annotations

import json

import pytest

from benchmarks.music import RATE_HZ, Song, render
from transforms import codec
from transforms.options import AudioOptions
from transforms.records import Audio

from .conftest import Runner

SONGS = {
    "waltz": Song(tonic=2, scale="Major", bpm=132.0, meter="3/4", timbre="piano", seed=3),
    "rock": Song(tonic=9, scale="Minor", bpm=110.0, meter="4/4", timbre="organ", seed=1),
}


def test_songs_of_a_manifest_are_rows_with_key_and_tempo(runner: Runner) -> None:
    for name, song in SONGS.items():
        audio = Audio(render(song, 20.0)[None], RATE_HZ)
        (runner.folder / f"{name}.flac").write_bytes(codec.encode(audio, AudioOptions(format="flac")).data)
    (runner.folder / "broken.flac").write_bytes(b"no music")
    runner.write([{"id": name, "audio": str(runner.folder / f"{name}.flac")} for name in (*SONGS, "broken")])
    summary = runner.run(operation="analyze", engine="librosa")
    assert (summary.done, summary.failed) == (2, {"bad_audio": 1})
    *rows, broken = runner.manifest()
    assert broken["code"] == "bad_audio"
    for row, song in zip(rows, SONGS.values(), strict=True):
        fields = json.loads(row["fields"])
        assert (fields["key"], fields["scale"]) == ({2: "D", 9: "A"}[song.tonic], song.scale)
        assert fields["bpm"] == pytest.approx(song.bpm, rel=0.01)
        assert fields["time_signature"] == song.meter
        assert row["duration_s"] == pytest.approx(20.0, abs=0.01)
