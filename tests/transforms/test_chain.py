"""Engines made of engines: what their options mean, and who they are."""

from __future__ import annotations

import pytest

from transforms import identity
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.records import Input, Item

CONVERT = engine_class("convert_voice", "cascade")


def test_a_dotted_name_is_an_option_of_a_stage() -> None:
    dotted = CONVERT.Options.parse({"tts.engine": "piper", "stt.model": "tiny.en"})
    nested = CONVERT.Options.parse({"tts": {"engine": "piper"}, "stt": '{"model": "tiny.en"}'})
    assert dotted == nested
    assert [(each.operation, each.engine.name) for each in CONVERT().stages(dotted)] == [
        ("transcribe", "faster-whisper"),
        ("synthesize", "piper"),
    ]  # type: ignore[attr-defined]


def test_a_dotted_name_adds_to_what_a_mapping_says_of_the_stage() -> None:
    options = CONVERT.Options.parse({"stt.model": "tiny.en", "stt": {"beam_size": 1}})
    assert options.stt == {"beam_size": 1, "model": "tiny.en"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "code"),
    [({"tts.engine": "nobody"}, "model_unavailable"), ({"stt.beam": 3}, "bad_option"), ({"tts.voice": "nobody"}, "unknown_voice")],
)
def test_what_a_stage_cannot_be_is_refused_at_once(given: dict[str, object], code: str) -> None:
    options = CONVERT.Options.parse(given)
    with pytest.raises(WavemillError) as caught:
        CONVERT().check(Item("", "", "convert_voice", "cascade", options, {}))
    assert caught.value.code == code


def test_every_stage_is_part_of_the_identity() -> None:
    prefixes = {
        identity.prefix(CONVERT(), CONVERT.Options.parse(given))
        for given in ({}, {"stt.model": "tiny.en"}, {"tts.engine": "piper"}, {"voice": "bm_fable"}, {"tts.speed": 1.1})
    }
    assert len(prefixes) == 5


def test_a_conversion_must_say_whose_voice_is_meant() -> None:
    item = Item("", "", "convert_voice", "cascade", CONVERT.Options(), {"audio": Input("uri", "a.wav")})
    with pytest.raises(WavemillError, match="whose voice") as caught:
        CONVERT().check(item)
    assert (caught.value.code, caught.value.field) == ("bad_option", "target")


def test_clone_takes_no_voice_beside_its_reference() -> None:
    cls = engine_class("clone", "kokoro")
    with pytest.raises(WavemillError) as caught:
        cls().check(Item("", "", "clone", "kokoro", cls.Options(voice="af_bella"), {}))  # type: ignore[call-arg]
    assert (caught.value.code, caught.value.field) == ("bad_option", "voice")


@pytest.mark.parametrize(
    "given",
    [
        {"tts": 5, "tts.engine": "piper"},
        {"tts": "[1]", "tts.engine": "piper"},
        {"tts": {"engine": ["x"]}},
        {"tts": {"engine": 5}},
        {"tts": [1]},
    ],
)
def test_a_stage_that_is_no_mapping_or_no_engine_is_a_bad_option(given: dict[str, object]) -> None:
    with pytest.raises(WavemillError) as caught:
        CONVERT().check(Item("", "", "convert_voice", "cascade", CONVERT.Options.parse(given), {}))
    assert caught.value.code == "bad_option"


def test_nothing_in_the_place_of_a_stage_says_nothing_of_it() -> None:
    assert CONVERT.Options.parse({"tts.engine": "piper", "tts": None}) == CONVERT.Options.parse({"tts.engine": "piper"})
    assert CONVERT.Options.parse({"tts.engine": "piper"}).takes("tts.speed")
    assert not CONVERT.Options.takes("language.name")


@pytest.mark.parametrize(("operation", "more"), [("restyle", {}), ("translate", {"preserve_voice": True})])
def test_a_voice_of_a_recording_is_not_asked_of_an_engine_that_has_its_own(operation: str, more: dict[str, object]) -> None:
    cls = engine_class(operation, "cascade")
    options = cls.Options.parse({"tts.engine": "piper", **more})
    with pytest.raises(WavemillError) as caught:
        cls().check(Item("", "", operation, "cascade", options, {}))
    assert caught.value.code == "bad_option"


def test_what_the_user_says_of_the_pitch_stands_above_the_mood() -> None:
    cls = engine_class("restyle", "cascade")
    _, speak = cls().stages(cls.Options.parse({"emotion": "happy", "tts.pitch_range": 0}))  # type: ignore[attr-defined]
    assert (speak.options.pitch, speak.options.pitch_range) == (1.0, 0)
