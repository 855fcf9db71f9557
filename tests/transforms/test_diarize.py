"""Who spoke when: clusters of embeddings with known truth, and real voices in turns."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from benchmarks.quality_diarize import error_rate, mixed, without_silence
from pipelines.one import run_items
from transforms import codec, diarize, speakers, torch_file, transcribe
from transforms.diarize import Turn, Window
from transforms.engine import Place, engine_class
from transforms.engines import diarizing
from transforms.errors import WavemillError
from transforms.options import AudioOptions
from transforms.pull import pull
from transforms.records import Audio, Input, Item, Piece, Result
from transforms.settings import Settings

RATE_HZ = 16000
TEXTS = (
    "The clock above the mill had stopped a long time ago.",
    "I will charge you nothing unless it works.",
    "The water is high, and the wheel will not turn before noon.",
    "She took the lamp from the shelf and went down the stairs.",
)


def voice(number: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """An embedding near the axis of its speaker."""
    drawn = np.eye(speakers.SIZE)[number] + rng.normal(0, spread / 16, speakers.SIZE)
    return np.asarray(drawn / np.linalg.norm(drawn), np.float32)


def spoken(order: Sequence[int], seed: int = 0) -> tuple[list[Window], list[tuple[float, float]]]:
    """Two windows of each speaker's three seconds, a second of silence between turns."""
    rng = np.random.default_rng(seed)
    windows, spans = [], []
    for index, number in enumerate(order):
        start = index * 4.0
        spans.append((start, start + 3.0))
        windows += [Window(start + at, start + at + 1.6, voice(number, 0.3, rng)) for at in (0.0, 0.7, 1.4)]
    return windows, spans


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_speakers_are_counted_and_named_in_the_order_in_which_they_are_heard(order: list[int]) -> None:
    windows, spans = spoken(order)
    found = diarize.turns(windows, spans)
    names: dict[int, int] = {}
    assert [names.setdefault(number, len(names)) for number in order] == [turn.speaker for turn in found]
    assert all(turn.start < turn.end for turn in found)


def test_as_many_speakers_are_told_apart_as_are_asked_for() -> None:
    windows, spans = spoken([0, 1, 2, 0, 1, 2])
    assert {turn.speaker for turn in diarize.turns(windows, spans, 2)} == {0, 1}


def test_many_windows_are_clustered_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    windows, spans = spoken([0, 1, 2, 1, 0, 2, 2, 1] * 4)
    whole = diarize.turns(windows, spans)
    monkeypatch.setattr(diarize, "AT_ONCE", 20)
    assert diarize.turns(windows, spans) == whole


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=5))
def test_speakers_whom_each_piece_counts_for_itself_are_counted_over_all_pieces(orders: list[list[int]]) -> None:
    rng, pieces, truth = np.random.default_rng(0), [], []
    for index, order in enumerate(orders):
        own = list(dict.fromkeys(order))[::-1]
        turns = [Turn(100.0 * index + 4 * at, 100.0 * index + 4 * at + 3, own.index(number)) for at, number in enumerate(order)]
        pieces.append((turns, [7 * voice(number, 0.3, rng) for number in own]))
        truth += order
    found, names = diarize.joined(pieces), dict[int, int]()
    assert [turn.speaker for turn in found] == [names.setdefault(number, len(names)) for number in truth]
    assert [turn.start for turn in found] == [turn.start for turns, _ in pieces for turn in turns]


def test_speakers_of_one_piece_stay_apart_though_their_voices_are_alike_unless_fewer_are_asked_for() -> None:
    alike = [voice(0, 0.1, np.random.default_rng(seed)) for seed in range(3)]
    pieces = [([Turn(0, 3, 0), Turn(4, 7, 1)], alike[:2]), ([Turn(8, 11, 0)], alike[2:])]
    assert {turn.speaker for turn in diarize.joined(pieces)} == {0, 1}
    assert {turn.speaker for turn in diarize.joined(pieces, 1)} == {0}
    strangers = [voice(number, 0.1, np.random.default_rng(number)) for number in range(4)]
    pieces = [([Turn(0, 3, 0), Turn(4, 7, 1), Turn(8, 11, 2)], strangers[:3]), ([Turn(12, 15, 0), Turn(16, 19, 1)], strangers[2:])]
    assert [turn.speaker for turn in diarize.joined(pieces)] == [0, 1, 2, 2, 3]
    assert len({turn.speaker for turn in diarize.joined(pieces, 2)}) == 2


def test_the_turns_of_a_single_piece_are_as_they_were_told_and_none_is_none() -> None:
    alike = [np.ones(4), np.ones(4)]
    turns = [Turn(0, 4, 1), Turn(3, 5, 0)]
    assert diarize.joined([(turns, alike)], 1) == [Turn(0, 4, 0), Turn(3, 5, 1)]
    assert diarize.joined([([], []), ([], [])]) == []
    assert diarize.joined([([], []), (turns, alike)]) == [Turn(0, 4, 0), Turn(3, 5, 1)]


@pytest.mark.extra("sherpa")
def test_speakers_of_two_pieces_are_matched_at_the_distance_by_which_sherpa_clusters_one() -> None:
    import sherpa_onnx

    assert sherpa_onnx.FastClusteringConfig().threshold == diarize.SAME


def test_silence_has_no_turns() -> None:
    assert diarize.turns([], []) == []


def test_a_segment_is_cut_where_another_speaker_begins() -> None:
    words = [{"start": n, "end": n + 0.9, "word": f" w{n}", "probability": 1.0} for n in range(6)]
    segment = {"start": 0, "end": 6, "text": "w0 w1 w2 w3 w4 w5", "words": words}
    labelled = diarize.label([segment], [Turn(0, 3, 0), Turn(3, 6, 1)])
    assert [(s["speaker"], s["text"], s["start"], s["end"]) for s in labelled] == [
        ("SPEAKER_00", "w0 w1 w2", 0, 2.9),
        ("SPEAKER_01", "w3 w4 w5", 3, 5.9),
    ]


def test_a_file_of_weights_that_asks_for_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    path = tmp_path / "evil.pt"
    with path.open("wb") as file:
        pickle.dump(torch_file.MAGIC, file)
        for part in (1001, {}, Evil()):
            pickle.dump(part, file)
    with pytest.raises(WavemillError, match="which no weights need") as caught:
        torch_file.read_legacy(path, "model_state")
    assert caught.value.code == "weights_mismatch"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04 a newer file"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.pt").write_bytes(data)
    with pytest.raises(WavemillError) as caught:
        torch_file.read_legacy(tmp_path / "a.pt", "model_state")
    assert caught.value.code == "weights_mismatch"


def engine_of(name: str) -> Any:
    cls = engine_class("synthesize", name)
    for model in cls().models(cls.Options()):
        pull(model, Settings())
    made = cls()
    made.load(Place("cpu", 2, Settings().models_dir))
    return made


@pytest.fixture(scope="module")
def clips() -> dict[tuple[str, int], np.ndarray]:
    """Each text by each voice, mono at 16 kHz, without silence at its ends."""
    found = {}
    for engine, names in ((engine_of("kokoro"), ("af_bella", "am_michael")), (engine_of("piper"), ("en_US-joe-medium",))):
        for name in names:
            for number, text in enumerate(TEXTS):
                (made,) = engine.run([Piece({"text": text}, engine.Options.parse({"voice": name}), number)])
                found[name, number] = without_silence(made.outputs["audio"])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "order",
    [
        ("af_bella", "am_michael", "af_bella", "am_michael", "am_michael", "af_bella"),
        ("am_michael", "en_US-joe-medium", "af_bella", "am_michael", "af_bella", "en_US-joe-medium", "am_michael"),
    ],
    ids=["two", "three"],
)
def test_real_voices_in_turns_are_told_apart_in_the_transcript(
    clips: dict[tuple[str, int], np.ndarray], tmp_path: Path, order: tuple[str, ...]
) -> None:
    audio, truth = mixed(clips, order, len(TEXTS))
    (tmp_path / "talk.wav").write_bytes(codec.encode(audio, AudioOptions(format="wav")).data)
    options = engine_class("transcribe", "faster-whisper").Options.parse(
        {"model": "tiny.en", "diarize": True, "timestamps": True, "formats": "srt"}
    )
    (outcome,) = run_items("transcribe", "faster-whisper", options, [{"audio": Input("uri", str(tmp_path / "talk.wav"))}], Settings())
    assert isinstance(outcome, Result)
    assert outcome.fields["speakers"] == len(set(order))
    segments = json.loads(outcome.outputs["transcript"].data)["segments"]
    told = [(s["start"], s["end"], int(s["speaker"].removeprefix("SPEAKER_"))) for s in segments]
    assert error_rate(truth, told, audio.duration_s) <= 0.15
    assert b"SPEAKER_00: " in outcome.outputs["srt"].data


def test_the_transcript_stands_when_its_voices_cannot_be_told_apart(
    clips: dict[tuple[str, int], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(diarizing.Diarizer):
        def _encoder(self) -> Any:
            raise RuntimeError("no ears")

    monkeypatch.setattr(diarizing, "Diarizer", Deaf)
    engine: Any = engine_class("transcribe", "faster-whisper")()
    options = engine.Options.parse({"model": "tiny.en", "diarize": True})
    for model in engine.models(options):
        pull(model, Settings())
    engine.load(Place("cpu", 1, Settings().models_dir))
    samples = clips["en_US-joe-medium", 0]
    (outcome,) = engine.run([Piece({"audio": Audio(samples[None], RATE_HZ)}, options, 0)])
    assert isinstance(outcome, Result)
    assert "clock" in outcome.fields["text"]
    assert "no ears" in outcome.fields["diarization_error"]


def test_the_transcript_stands_when_the_clustering_fails() -> None:
    engine = engine_class("transcribe", "faster-whisper")()
    item = Item("1" * 64, "a", "transcribe", "faster-whisper", engine.Options.parse({"diarize": True}), {})
    looks = [Window(second, second + 1.0, np.full(4, np.nan)) for second in (0.0, 1.0)]
    told = {"text": "Good day.", "language": "en", "duration_s": 2.0, "voiced_s": 2.0, "coverage": 1.0, "retried": 0}
    told |= {"segments": [{"start": 0.0, "end": 2.0, "text": "Good day."}], "speech": [(0.0, 2.0)], "voices": looks}
    piece = Piece({"audio": Audio(np.zeros((1, 2 * RATE_HZ), np.float32), RATE_HZ)}, item.options, 0)
    joined = transcribe.join(item, [piece], [Result(told)], engine)
    assert joined.fields["text"] == "Good day." and "speakers" not in joined.fields
    assert joined.fields["diarization_error"].startswith("ValueError: ")
