"""Which engine a model's name or a language finds."""

from __future__ import annotations

import pytest

from transforms import engine as engine_table
from transforms.choosing import choose_model
from transforms.errors import WavemillError
from transforms.operations import OPERATIONS

ELSEWHERE = "bark cosyvoice2 dia glm-tts gpt-sovits indextts2 knn-vc openvoice orpheus qwen3-tts sesame spark spleeter tortoise"
"""Models of the hosted API that no engine of ours runs."""


@pytest.mark.parametrize(
    ("operation", "name", "engine"),
    [
        ("synthesize", "kokoro", "kokoro"),
        ("synthesize", "Piper", "piper"),
        ("synthesize", "piper-en_us-joe-medium", None),
        ("synthesize", "sherpa", "sherpa"),
        ("transcribe", "whisper", "faster-whisper"),
        ("transcribe", "faster-whisper", "faster-whisper"),
        ("transcribe", "large-v3", "faster-whisper"),
        ("transcribe", "whisper-tiny.en", "faster-whisper"),
        ("synthesize", "chatterbox", "chatterbox"),
        ("clone", "chatterbox-turbo", "chatterbox"),
        ("separate", "demucs", "demucs"),
        ("separate", "htdemucs_6s", "demucs"),
        ("convert-voice", "cascade", "cascade"),
        ("synthesize", "large-v3", None),
        ("separate", "whisper", None),
    ],
)
def test_a_name_of_the_api_finds_the_engine_that_runs_it(operation: str, name: str, engine: str | None) -> None:
    if engine:
        assert choose_model(operation, name) == engine
        return
    with pytest.raises(WavemillError) as caught:
        choose_model(operation, name)
    assert (caught.value.code, caught.value.field) == ("model_unavailable", "model")


@pytest.mark.parametrize("name", ELSEWHERE.split())
def test_a_model_that_is_not_here_is_refused_with_what_is(name: str) -> None:
    for operation in ("synthesize", "clone", "convert_voice", "separate"):
        with pytest.raises(WavemillError, match="there are") as caught:
            choose_model(operation, name, "en")
        assert caught.value.code == "model_unavailable"
        assert all(engine in caught.value.detail for engine in engine_table.ENGINES[operation])
        assert "did you mean" not in caught.value.detail


def test_a_misspelled_name_is_told_the_near_one() -> None:
    with pytest.raises(WavemillError, match="did you mean kokoro"):
        choose_model("synthesize", "kokorro")


@pytest.mark.parametrize(("operation", "kind"), [("synthesize", "melotts"), ("synthesize", "vits"), ("transcribe", "sensevoice")])
def test_a_model_that_needs_a_folder_of_the_users_says_how_to_run_it(operation: str, kind: str) -> None:
    with pytest.raises(WavemillError, match=f"--kind {kind} --model-dir") as caught:
        choose_model(operation, kind)
    assert caught.value.code == "model_unavailable"


@pytest.mark.parametrize(
    ("operation", "language", "engine"),
    [
        ("synthesize", "en", "kokoro"),
        ("synthesize", "pt_BR", "kokoro"),
        ("synthesize", "ja", "kokoro"),
        ("synthesize", "de", "piper"),
        ("synthesize", "de-DE", "piper"),
        ("synthesize", "auto", "kokoro"),
        ("synthesize", "ar", "chatterbox"),
        ("transcribe", "sw", "faster-whisper"),
        ("enhance", "tlh", "deepfilternet"),
    ],
)
def test_a_language_finds_the_first_engine_that_has_it_and_the_default_comes_first(operation: str, language: str, engine: str) -> None:
    assert choose_model(operation, language=language) == engine


def test_the_default_is_asked_first_wherever_it_stands_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    speaking = engine_table.ENGINES["synthesize"]
    monkeypatch.setitem(engine_table.ENGINES, "synthesize", dict(reversed(speaking.items())))
    assert choose_model("synthesize", language="en") == "kokoro"


def test_a_language_that_no_engine_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(WavemillError, match="de, el, en, es") as caught:
        choose_model("synthesize", language="tlh")
    assert (caught.value.code, caught.value.field) == ("unsupported_language", "language")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_name_and_a_language_the_default_is_taken(operation: str) -> None:
    assert choose_model(operation) == choose_model(operation, "", "") == OPERATIONS[operation].default_engine
