"""The steps around every transcriber: where audio is cut, and what is made of what its pieces said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from transforms import identity, transcribe
from transforms.engine import Engine
from transforms.engines.echo import EchoTranscript
from transforms.errors import WavemillError
from transforms.records import Audio, Input, Item, Piece, Result
from transforms.segments import Word

RATE_HZ = 16000


class ShortEcho(EchoTranscript):
    """Hears two seconds at most."""

    max_s = 2.0


def item(**options: Any) -> Item:
    return Item("1" * 64, "a", "transcribe", "echo", EchoTranscript.Options.parse(options), {"audio": Input("uri", "a.wav")})


def cut(samples: np.ndarray, engine: Engine) -> list[Piece]:
    return transcribe.split(item(), {"audio": Audio(samples, RATE_HZ)}, engine)


def samples_of(piece: Piece) -> np.ndarray:
    audio = piece.inputs["audio"]
    assert isinstance(audio, Audio)
    return audio.samples


@settings(max_examples=30)
@given(st.integers(1, 15 * RATE_HZ))
def test_pieces_cover_the_audio_exactly_in_order_without_overlap(frames: int) -> None:
    samples = np.arange(frames, dtype=np.float32)[None] / frames
    pieces = cut(samples, ShortEcho())
    assert np.array_equal(np.concatenate([samples_of(piece) for piece in pieces], axis=1), samples)
    at = 0
    for index, piece in enumerate(pieces):
        assert piece.start_s == at / RATE_HZ
        assert piece.seed == identity.seed("1" * 64, index)
        assert 0 < samples_of(piece).shape[1] <= 2 * RATE_HZ
        at += samples_of(piece).shape[1]


def test_pieces_are_views_of_a_memory_map(tmp_path: Path) -> None:
    samples = np.memmap(tmp_path / "audio", np.float32, "w+", shape=(1, 5 * RATE_HZ))
    pieces = cut(samples, ShortEcho())
    assert len(pieces) > 1
    for piece in pieces:
        assert isinstance(samples_of(piece), np.memmap)
        assert np.shares_memory(samples_of(piece), samples)


def test_audio_of_nothing_is_refused() -> None:
    with pytest.raises(WavemillError) as caught:
        cut(np.zeros((1, 0), np.float32), ShortEcho())
    assert (caught.value.code, caught.value.field) == ("audio_empty", "audio")


def piece_at(start_s: float, length_s: float) -> Piece:
    audio = Audio(np.zeros((1, round(length_s * 100)), np.float32), 100)
    return Piece({"audio": audio}, EchoTranscript.Options(), 0, start_s=start_s)


def told(text: str, language: str | None, length_s: float, voiced_s: float, **more: Any) -> Result:
    words = [Word(n * 0.5, n * 0.5 + 0.4, f" {word}", 0.9) for n, word in enumerate(text.split())]
    segments = [{"start": words[0].start, "end": words[-1].end, "text": text, "words": words}] if words else []
    checked = {"voiced_s": voiced_s, "coverage": 0.5 if words else None, "retried": 1, "language_probability": 0.8}
    return Result({"text": text, "language": language, "duration_s": length_s, "segments": segments} | checked | more)


PIECES = [piece_at(0, 10), piece_at(10, 10), piece_at(20, 5)]
RESULTS = [told("", None, 10, 0), told("Good day.", "en", 10, 2, language_probability=0.7), told("And bye.", "en", 5, 2)]


def join(pieces: list[Piece] = PIECES, results: list[Result] = RESULTS, **options: Any) -> Result:
    return transcribe.join(item(**options), pieces, results, EchoTranscript())


def transcript_of(result: Result) -> Any:
    assert result.outputs["transcript"].format == "json"
    return json.loads(result.outputs["transcript"].data)


def test_one_transcript_with_times_from_the_start_of_the_audio() -> None:
    result = join()
    assert transcript_of(result) == {
        "text": "Good day. And bye.",
        "language": "en",
        "duration": 25.0,
        "segments": [{"start": 10.0, "end": 10.9, "text": "Good day."}, {"start": 20.0, "end": 20.9, "text": "And bye."}],
    }
    assert dict(result.fields) == {
        "text": "Good day. And bye.",
        "language": "en",
        "language_probability": 0.7,
        "duration_s": 25.0,
        "segments": 2,
        "voiced_s": 4.0,
        "coverage": 0.5,
        "retried": 3,
    }


def test_words_are_told_when_they_are_asked_for() -> None:
    first = transcript_of(join(timestamps=True))["segments"][0]["words"]
    assert first == [
        {"start": 10.0, "end": 10.4, "word": "Good", "probability": 0.9},
        {"start": 10.5, "end": 10.9, "word": "day.", "probability": 0.9},
    ]


def test_each_format_is_an_output_of_its_own() -> None:
    result = join(formats="srt, vtt,tsv,txt")
    assert list(result.outputs) == ["transcript", "srt", "vtt", "tsv", "txt"]
    assert result.outputs["txt"].data == b"Good day.\nAnd bye.\n"
    assert result.outputs["vtt"].data.startswith(b"WEBVTT\n\n00:00:10.000 --> 00:00:10.900\nGood day.\n")
    assert all(output.format == name for name, output in result.outputs.items() if name != "transcript")


def test_the_language_is_that_of_most_of_the_speech() -> None:
    results = [told("Hola.", "es", 10, 3), told("Good day.", "en", 10, 2), told("Bye.", "en", 5, 2)]
    assert join(results=results).fields["language"] == "en"


def test_japanese_pieces_are_joined_without_a_space() -> None:
    results = [told("今日は。", "ja", 10, 3), told("", None, 10, 0), told("晴れ。", "ja", 5, 3)]
    assert join(results=results).fields["text"] == "今日は。晴れ。"


def test_silence_has_no_language_and_no_text() -> None:
    result = join(results=[told("", None, s, 0) for s in (10.0, 10.0, 5.0)])
    assert transcript_of(result) == {"text": "", "language": None, "duration": 25.0, "segments": []}
    assert result.fields["coverage"] is None


def test_an_engine_that_does_not_check_itself_is_joined_as_well() -> None:
    outcomes = EchoTranscript().run(PIECES)
    fields = join(results=[outcome for outcome in outcomes if isinstance(outcome, Result)]).fields
    assert fields["segments"] == 3
    assert "coverage" not in fields


def test_an_unknown_format_is_refused_with_what_there_is() -> None:
    with pytest.raises(WavemillError, match="srt") as caught:
        transcribe.Options.parse({"formats": "srt,srx"})
    assert (caught.value.code, caught.value.field) == ("bad_option", "formats")
    assert transcribe.Options.parse({"formats": "srt,vtt"}).formats == ("srt", "vtt")


def test_auto_is_the_language_unset() -> None:
    options = transcribe.Options.parse({"language": "auto"})
    assert options.language is None
    assert options.canonical() == "{}"
