"""Whisper on real speech: what is said is heard, nothing is dropped, and what cannot work is refused at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
import soxr

from transforms import transcribe
from transforms.engine import Engine, Place, engine_class
from transforms.engines.faster_whisper import FasterWhisper
from transforms.errors import WavemillError
from transforms.pull import pull
from transforms.records import Audio, Input, Item, Piece, Result
from transforms.settings import Settings

RATE_HZ = 16000
SENTENCES = (
    "The lighthouse stood at the end of the road, where the land gave up and the sea began.",
    "Every evening the keeper climbed the stairs, lit the lamp, and sat down with a book.",
    "One night in winter a small boat came in out of the dark with nobody on board.",
    "He tied it to the wall and waited for somebody to ask for it, but nobody ever did.",
    "In spring he painted it green, and gave it the name of his sister.",
    "After that the children of the village came to visit him on Sundays.",
)
CHEAP = {"model": "tiny.en", "beam_size": 1}


def loaded(cls: type[Engine], *models: str) -> Any:
    settings = Settings()
    for model in models:
        pull(model, settings)
    made = cls()
    made.load(Place("cpu", 2, settings.models_dir))
    return made


def say(engine: Any, text: str, **options: Any) -> np.ndarray:
    """A text as float32 of shape (frames,) at 16 kHz."""
    (outcome,) = engine.run([Piece({"text": text}, engine.Options.parse(options), 1)])
    assert isinstance(outcome, Result)
    audio = outcome.outputs["audio"]
    spoken: np.ndarray = soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ)
    return spoken


@pytest.fixture(scope="module")
def engine() -> Iterator[FasterWhisper]:
    made = loaded(FasterWhisper, "whisper-base", "whisper-tiny.en")
    yield made
    made.close()


@pytest.fixture(scope="module")
def spoken() -> list[np.ndarray]:
    piper = loaded(engine_class("synthesize", "piper"), "piper-en_US-joe-medium")
    return [say(piper, sentence) for sentence in SENTENCES]


@pytest.fixture(scope="module")
def spanish() -> np.ndarray:
    kokoro = loaded(engine_class("synthesize", "kokoro"), "kokoro-int8", "kokoro-voices")
    return say(kokoro, "La reunión empieza mañana por la mañana en la oficina central.", voice="ef_dora")


def paragraph(spoken: list[np.ndarray], pause_s: float = 0.5) -> np.ndarray:
    pause = np.zeros(round(pause_s * RATE_HZ), np.float32)
    return np.concatenate([part for sound in spoken for part in (sound, pause)])


def hear(engine: Engine, *sounds: np.ndarray, **options: Any) -> list[dict[str, Any]]:
    parsed = engine.Options.parse(options)
    outcomes = engine.run([Piece({"audio": Audio(sound[None], RATE_HZ)}, parsed, 0) for sound in sounds])
    assert all(isinstance(outcome, Result) for outcome in outcomes)
    return [dict(outcome.fields) for outcome in outcomes if isinstance(outcome, Result)]


def plain(text: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())


def errors(said: str, heard: str) -> float:
    """Word error rate."""
    return float(jiwer.wer(plain(said), plain(heard)))


def test_what_is_said_is_heard_and_its_language_known(engine: FasterWhisper, spoken: list[np.ndarray]) -> None:
    (heard,) = hear(engine, paragraph(spoken))
    assert errors(" ".join(SENTENCES), heard["text"]) <= 0.05
    assert (heard["language"], heard["retried"]) == ("en", 0)
    assert heard["language_probability"] > 0.9
    assert heard["coverage"] > 0.95
    assert 0.7 * heard["duration_s"] < heard["voiced_s"] < heard["duration_s"]


def test_segments_are_sentences_at_their_times(engine: FasterWhisper, spoken: list[np.ndarray]) -> None:
    sound = paragraph(spoken, pause_s=1.0)
    (heard,) = hear(engine, sound, **CHEAP)
    segments = heard["segments"]
    assert [errors(said, s["text"]) < 0.3 for said, s in zip(SENTENCES, segments, strict=True)] == [True] * len(SENTENCES)
    starts = np.cumsum([0, *(len(one) / RATE_HZ + 1.0 for one in spoken)])
    for segment, start, end in zip(segments, starts, starts[1:], strict=False):
        assert start - 0.5 <= segment["start"] <= start + 1.0
        assert end - 2.5 <= segment["end"] <= end - 0.5
    words = [word for segment in segments for word in segment["words"]]
    assert all(a.start <= a.end <= b.start for a, b in pairwise(words))
    assert words[-1].end <= len(sound) / RATE_HZ
    assert "".join(word.word for word in words).strip() == heard["text"]


def test_another_language_is_known_and_translated(engine: FasterWhisper, spanish: np.ndarray) -> None:
    (heard,) = hear(engine, spanish)
    assert heard["language"] == "es"
    assert "reunión" in heard["text"]
    (translated,) = hear(engine, spanish, task="translate")
    assert {"meeting", "tomorrow"} <= set(plain(translated["text"]).split())


def test_short_clips_of_two_languages_keep_each_its_own(engine: FasterWhisper, spoken: list[np.ndarray], spanish: np.ndarray) -> None:
    heard = hear(engine, spoken[0], spanish, spoken[5])
    assert [one["language"] for one in heard] == ["en", "es", "en"]
    assert errors(SENTENCES[5], heard[2]["text"]) < 0.2


@pytest.fixture(scope="module")
def alone(engine: FasterWhisper, spoken: list[np.ndarray]) -> list[dict[str, Any]]:
    return [hear(engine, sound, **CHEAP)[0] for sound in spoken]


def test_short_clips_that_share_a_window_are_heard_as_well_as_alone(
    engine: FasterWhisper, spoken: list[np.ndarray], alone: list[dict[str, Any]]
) -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    *together, silent = hear(engine, *spoken, silence, **CHEAP)
    for said, one, other, sound in zip(SENTENCES, together, alone, spoken, strict=True):
        assert errors(said, one["text"]) <= errors(said, other["text"]) + 0.1
        assert 0 <= one["segments"][0]["start"] <= one["segments"][-1]["end"] <= len(sound) / RATE_HZ
        assert one["segments"][-1]["end"] == pytest.approx(other["segments"][-1]["end"], abs=0.5)
    assert (silent["text"], silent["coverage"]) == ("", None)


def test_threads_hear_what_one_alone_hears(engine: FasterWhisper, spoken: list[np.ndarray], alone: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda sound: hear(engine, sound, **CHEAP)[0], spoken)) == alone


class StarvedWhisper(FasterWhisper):
    """Its batched decode ends after a few words, as batched decodes at times do."""

    max_tokens = 12


def test_what_batched_decoding_drops_is_heard_again(engine: FasterWhisper, spoken: list[np.ndarray]) -> None:
    starved = loaded(StarvedWhisper, "whisper-tiny.en")
    sound = paragraph(spoken)
    (whole,), (healed,) = hear(engine, sound, **CHEAP), hear(starved, sound, **CHEAP)
    assert (whole["retried"], healed["retried"]) == (0, 1)
    assert healed["coverage"] > 0.95
    assert errors(whole["text"], healed["text"]) < 0.05
    clips = hear(starved, *spoken[:3], **CHEAP)
    assert [one["retried"] for one in clips] == [1, 1, 1]
    assert errors(" ".join(SENTENCES[:3]), " ".join(one["text"] for one in clips)) < 0.15


@pytest.mark.parametrize("vad", [True, False])
def test_silence_and_noise_say_nothing(engine: FasterWhisper, vad: bool) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 10 * RATE_HZ).astype(np.float32)
    heard = hear(engine, np.zeros(10 * RATE_HZ, np.float32), noise, np.zeros(100, np.float32), vad=vad, **CHEAP)
    assert [(one["text"], one["segments"], one["language"]) for one in heard] == [("", [], None)] * 3


def test_without_vad_speech_is_heard_sequentially(engine: FasterWhisper, spoken: list[np.ndarray]) -> None:
    (heard,) = hear(engine, paragraph(spoken), vad=False, **CHEAP)
    assert errors(" ".join(SENTENCES), heard["text"]) < 0.1
    assert heard["coverage"] is None


def test_25_minutes_come_back_in_order(engine: FasterWhisper, spoken: list[np.ndarray], tmp_path: Path) -> None:
    samples = np.memmap(tmp_path / "audio", np.float32, "w+", shape=(1, 25 * 60 * RATE_HZ))
    order = [n % len(spoken) for n in range(25)]
    for minute, n in enumerate(order):
        start = (minute * 60 + 20) * RATE_HZ
        samples[0, start : start + len(spoken[n])] = spoken[n]
    options = FasterWhisper.Options.parse(CHEAP | {"formats": "srt"})
    item = Item("0" * 64, "a", "transcribe", "faster-whisper", options, {"audio": Input("uri", "a.wav")})
    pieces = transcribe.split(item, {"audio": Audio(samples, RATE_HZ)}, engine)
    assert len(pieces) == 3
    outcomes = engine.run(pieces)
    results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
    result = transcribe.join(item, pieces, results, engine)
    assert errors(" ".join(SENTENCES[n] for n in order), result.fields["text"]) < 0.1
    assert result.fields["segments"] == len(order)
    assert result.fields["duration_s"] == 25 * 60
    assert b"00:24:2" in result.outputs["srt"].data


def check(**options: Any) -> None:
    parsed = FasterWhisper.Options.parse(options)
    FasterWhisper().check(Item("0" * 64, "a", "transcribe", "faster-whisper", parsed, {"audio": Input("uri", "a.wav")}))


@pytest.mark.parametrize(
    ("options", "code", "field"),
    [
        ({"model": "bass"}, "model_unavailable", "model"),
        ({"language": "tlh"}, "unsupported_language", "language"),
        ({"model": "tiny.en", "language": "fr"}, "unsupported_language", "language"),
        ({"model": "distil-large-v3", "language": "de"}, "unsupported_language", "language"),
        ({"model": "tiny.en", "task": "translate"}, "bad_option", "task"),
        ({"model": "large-v3-turbo", "task": "translate"}, "bad_option", "task"),
        ({"formats": "srt,doc"}, "bad_option", "formats"),
        ({"temperature": 1.5}, "bad_option", "temperature"),
    ],
)
def test_what_cannot_work_is_refused_at_once(options: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(WavemillError) as caught:
        check(**options)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_what_can_work_is_not_refused() -> None:
    for options in ({}, {"language": "auto"}, {"language": "es", "task": "translate"}, {"model": "tiny.en", "language": "en"}):
        check(**options)
    with pytest.raises(WavemillError, match="did you mean whisper-base"):
        check(model="bass")
