"""Which engine a model's name or a language finds."""

from __future__ import annotations

from typing import Any

import pytest

from transforms import engine as engine_table
from transforms.choosing import choose_model, settle
from transforms.engines.cascade import ConvertVoice
from transforms.engines.chatterbox_voice import ChatterboxConvert
from transforms.engines.kokoro import Kokoro
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
        ("convert-voice", "chatterbox-vc", "chatterbox"),
        ("clone", "chatterbox-vc", None),
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
    assert (caught.value.code, caught.value.field) == ("model_unavailable", "language")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_a_name_and_a_language_the_default_is_taken(operation: str) -> None:
    assert choose_model(operation) == choose_model(operation, "", "") == OPERATIONS[operation].default_engine


@pytest.mark.parametrize(
    ("operation", "name", "options"),
    [
        ("transcribe", "whisper", {}),
        ("transcribe", "large-v3", {"model": "large-v3"}),
        ("transcribe", "whisper-tiny.en", {"model": "tiny.en"}),
        ("synthesize", "kokoro-fp32", {"model": "fp32"}),
        ("clone", "chatterbox-turbo", {"model": "turbo"}),
        ("separate", "htdemucs", {}),
        ("separate", "htdemucs_6s", {"stems": 6}),
        ("enhance", "deepfilternet3", {}),
    ],
)
def test_the_name_of_a_model_is_also_the_option_that_means_it(operation: str, name: str, options: dict[str, Any]) -> None:
    choice = settle(operation, name, {"seed": 3})
    assert choice.options == {"seed": 3, **options}
    assert name in choice.why and choice.engine in choice.why


def test_an_option_may_say_the_same_model_as_the_name_and_no_other() -> None:
    assert settle("transcribe", "large-v3", {"model": "large-v3"}).options == {"model": "large-v3"}
    with pytest.raises(WavemillError, match="large-v3, not base") as caught:
        settle("transcribe", "large-v3", {"model": "base"})
    assert (caught.value.code, caught.value.field) == ("bad_usage", "model")


@pytest.mark.parametrize("language", [*Kokoro.languages, "en", "EN_us", "pt", "zh-TW", "auto", "", None])
def test_what_the_default_engine_speaks_stays_with_it_and_nothing_is_said(language: str | None) -> None:
    given = {"language": language, "speed": "1.10"}
    assert settle("synthesize", "", given, lambda: "piper") == ("kokoro", given, "")


def test_an_engine_that_is_named_stays_whatever_the_language_is() -> None:
    assert settle("synthesize", "kokoro", {"language": "de"}) == ("kokoro", {"language": "de"}, "")


def test_a_default_engine_that_does_not_say_what_it_speaks_is_not_given_up_for_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChatterboxConvert, "languages", ("fr",))
    assert not ConvertVoice.languages
    assert settle("convert_voice", "", {"language": "fr"}).engine == "cascade"


@pytest.mark.parametrize(("held", "engine"), [("", "piper"), ("chatterbox", "chatterbox"), ("kokoro", "piper"), ("gone", "piper")])
def test_what_was_begun_stays_with_its_engine_where_that_has_the_language(held: str, engine: str) -> None:
    choice = settle("synthesize", "", {"language": "de"}, lambda: held)
    assert choice.engine == engine
    assert f"kokoro has no de; the engine {engine} has it" in choice.why
