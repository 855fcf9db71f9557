"""Music with known answers, through the engine and the join."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from benchmarks.music import RATE_HZ, Song, render, songs
from benchmarks.quality_analyze import ITEM, SEED, judged
from transforms import analyze
from transforms.engine import Engine, Place
from transforms.engines.librosa import Librosa
from transforms.errors import WavemillError
from transforms.records import Audio, Result

SONG = Song(tonic=9, scale="Minor", bpm=104.0, meter="3/4", timbre="piano", seed=1)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    made = Librosa()
    made.load(Place())
    yield made
    made.close()


def analyzed(engine: Engine, mono: np.ndarray) -> dict[str, object]:
    pieces = analyze.split(ITEM, {"audio": Audio(mono[None].astype(np.float32), RATE_HZ)}, engine)
    results = [outcome for outcome in engine.run(pieces) if isinstance(outcome, Result)]
    return dict(analyze.join(ITEM, pieces, results, engine).fields)


@pytest.mark.slow
def test_most_keys_tempi_and_meters_of_songs_that_nothing_was_fitted_on_are_right() -> None:
    found = [judged(song, seconds=24.0) for song in songs(48, seed=SEED)]
    right = {name: sum(result[name] for result in found) / len(found) for name in ("key_right", "bpm_right", "bpm_octave", "meter_right")}
    # floors against getting worse, below what was measured; benchmarks/quality_analyze.py says how good it is
    assert right["key_right"] >= 0.75
    assert right["bpm_right"] >= 0.75
    assert right["bpm_octave"] >= 0.95
    assert right["meter_right"] >= 0.85


def test_a_song_is_told_in_the_words_of_the_interface(engine: Engine) -> None:
    fields = analyzed(engine, render(SONG, 20.0))
    assert list(fields) == [
        *("key", "scale", "bpm", "time_signature", "camelot", "compatible_keys"),
        *("key_confidence", "bpm_confidence", "time_signature_confidence", "duration_s"),
    ]
    assert (fields["key"], fields["scale"], fields["camelot"]) == ("A", "Minor", "8A")
    assert fields["compatible_keys"] == ["A Minor", "E Minor", "D Minor", "C Major"]
    assert fields["bpm"] == pytest.approx(SONG.bpm, rel=0.01)
    assert fields["time_signature"] == "3/4"
    assert fields["duration_s"] == 20.0


def test_the_tuning_of_the_instruments_does_not_change_the_key(engine: Engine) -> None:
    for cents in (-40.0, 40.0):
        fields = analyzed(engine, render(replace(SONG, cents=cents), 15.0))
        assert (fields["key"], fields["scale"]) == ("A", "Minor")


def test_a_song_in_many_pieces_is_what_it_is_in_one(engine: Engine) -> None:
    class Short(Librosa):
        max_s = 15.0

    song = render(SONG, 61.0)
    whole = analyzed(engine, song)
    pieces = analyze.split(ITEM, {"audio": Audio(song[None], RATE_HZ)}, Short())
    assert len(pieces) == 5
    results = [outcome for outcome in engine.run(pieces) if isinstance(outcome, Result)]
    joined = analyze.join(ITEM, pieces, results, engine).fields
    for name in ("key", "scale", "time_signature", "duration_s"):
        assert joined[name] == whole[name]
    assert joined["bpm"] == pytest.approx(whole["bpm"], rel=0.003)


def test_silence_has_neither_key_nor_tempo(engine: Engine) -> None:
    fields = analyzed(engine, np.zeros(3 * RATE_HZ))
    assert all(fields[name] is None for name in ("key", "scale", "bpm", "time_signature", "camelot"))
    assert fields["compatible_keys"] == []
    assert all(fields[f"{name}_confidence"] == 0 for name in ("key", "bpm", "time_signature"))
    assert fields["duration_s"] == 3.0


def test_silence_before_a_song_changes_nothing_but_its_length(engine: Engine) -> None:
    song = render(SONG, 20.0)
    late = analyzed(engine, np.concatenate([np.zeros(240 * RATE_HZ), song]))  # two pieces of silence
    alone = analyzed(engine, song)
    assert {name: late[name] for name in late if name != "duration_s"} == {name: alone[name] for name in alone if name != "duration_s"}


def test_noise_is_sure_of_nothing(engine: Engine) -> None:
    fields = analyzed(engine, 0.1 * np.random.default_rng(0).standard_normal(20 * RATE_HZ))
    assert all(fields[f"{name}_confidence"] < 0.2 for name in ("key", "bpm", "time_signature"))  # type: ignore[operator]


@pytest.mark.parametrize("frames", [1, 100, 1024, 5000, RATE_HZ])
def test_a_moment_of_sound_is_enough_for_an_answer(engine: Engine, frames: int) -> None:
    fields = analyzed(engine, 0.3 * np.sin(np.arange(frames) / 8))
    assert fields["duration_s"] == pytest.approx(frames / RATE_HZ, abs=1e-3)


def test_audio_without_a_sample_is_refused(engine: Engine) -> None:
    with pytest.raises(WavemillError) as caught:
        analyzed(engine, np.zeros(0))
    assert caught.value.code == "audio_empty"


def test_what_pieces_tell_is_of_one_size_however_long_they_are(engine: Engine) -> None:
    song = render(SONG, 30.0)
    pieces = [analyze.split(ITEM, {"audio": Audio(song[None, : s * RATE_HZ], RATE_HZ)}, engine)[0] for s in (1, 30)]
    told = [outcome.fields for outcome in engine.run(pieces) if isinstance(outcome, Result)]
    for short, long in pairwise(told):
        assert all(len(short[name]) == len(long[name]) for name in ("pitches", "onsets"))


def test_planning_imports_neither_librosa_nor_numba() -> None:
    code = "import sys; from transforms.engine import engine_class; engine_class('analyze', 'librosa')(); print(sorted(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for module in ("librosa", "numba", "scipy"):
        assert f"'{module}'" not in seen


def test_of_less_than_two_seconds_nothing_is_told_but_how_long_it_is(engine: Engine) -> None:
    fields = analyzed(engine, render(SONG, 20.0)[: round(1.9 * RATE_HZ)])
    assert (fields["key"], fields["bpm"], fields["key_confidence"], fields["bpm_confidence"]) == (None, None, 0.0, 0.0)
    assert fields["duration_s"] == 1.9
