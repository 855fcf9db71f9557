"""Engines made of engines: what their options mean, and who they are."""

from __future__ import annotations

import json

import pytest

from transforms import identity
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.records import Input, Item, Piece, Result

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
    ("given", "code", "field"),
    [
        ({"tts.engine": "nobody"}, "model_unavailable", "tts.engine"),
        ({"tts.engine": 5}, "bad_option", "tts.engine"),
        ({"stt.beam": 3}, "bad_option", "stt.beam"),
        ({"stt.beam_size": 0}, "bad_option", "stt.beam_size"),
        ({"tts.voice": "nobody"}, "unknown_voice", "tts.voice"),
        ({"voice": "nobody"}, "unknown_voice", "voice"),
        ({"language": "xx"}, "unsupported_language", "language"),
    ],
)
def test_what_a_stage_cannot_be_is_refused_at_once_by_the_name_it_was_given_under(given: dict[str, object], code: str, field: str) -> None:
    options = CONVERT.Options.parse(given)
    with pytest.raises(WavemillError) as caught:
        CONVERT().check(Item("", "", "convert_voice", "cascade", options, {}))
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize(
    "given", [{"stt": "nonsense"}, {"stt": "nonsense", "stt.model": "tiny.en"}, {"stt.model": "tiny.en", "stt": "nonsense"}]
)
def test_what_is_no_mapping_is_refused_by_the_name_of_its_stage(given: dict[str, object]) -> None:
    with pytest.raises(WavemillError, match=r"^stt: not a mapping") as caught:
        CONVERT.Options.parse(given)
    assert (caught.value.code, caught.value.field) == ("bad_option", "stt")


def test_a_language_that_the_voice_lacks_is_told_by_the_option_that_names_it() -> None:
    cls = engine_class("translate", "cascade")
    with pytest.raises(WavemillError) as caught:
        cls().check(Item("", "", "translate", "cascade", cls.Options.parse({"to": "de", "language": "de"}), {}))
    assert (caught.value.code, caught.value.field) == ("unsupported_language", "to")


@pytest.mark.parametrize(("said", "kept"), [(["Hola.", "..."], ["Hola."]), (["...", "!!!"], None)])
def test_a_translation_without_words_is_left_out_and_none_at_all_is_the_text_engines_fault(
    said: list[str], kept: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = engine_class("translate", "cascade")
    translate = cls()
    monkeypatch.setattr(translate, "work_all", lambda stage, seed, many: [Result({"text": text}) for text in said])
    options = cls.Options.parse({"to": "es", "mt.engine": "openai"})
    _, mt, _ = translate.stages(options)  # type: ignore[attr-defined]
    segments = [{"start": n, "end": n + 1, "text": f"number {n}"} for n in range(len(said))]
    heard, piece = Result({"language": "en"}), Piece({}, options, 0)
    if kept is None:
        with pytest.raises(WavemillError, match="translate_text: openai answered no words") as caught:
            translate.reworded([mt], segments, heard, piece)  # type: ignore[attr-defined]
        assert caught.value.code == "engine_error"
    else:
        found = translate.reworded([mt], segments, heard, piece)  # type: ignore[attr-defined]
        assert [segment["text"] for segment in found] == kept


@pytest.mark.parametrize(
    "own",
    [{"tts": {"engine": "kokoro"}}, {"tts.engine": "kokoro"}, {"tts": '{"engine": "kokoro"}'}, {"stt": {}, "tts": {"engine": "kokoro"}}],
)
@pytest.mark.parametrize("under", [{"tts.engine": "piper", "tts.speed": 1.1}, {"tts": {"engine": "piper", "speed": 1.1}}])
def test_what_a_row_says_of_a_stage_stands_above_what_the_run_says_of_it(own: dict[str, object], under: dict[str, object]) -> None:
    options = CONVERT.Options.parse(under, own)
    assert options.tts == {"engine": "kokoro", "speed": 1.1}  # type: ignore[attr-defined]


def test_of_two_names_for_one_option_the_rows_own_stands() -> None:
    under = {"tts.engine": "piper", "tts": {"engine": "sherpa"}}
    assert CONVERT.Options.parse(under, {"tts.engine": "kokoro"}).tts == {"engine": "kokoro"}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("operation", "given", "written"),
    [
        ("convert_voice", {"tts": {"speed": 1.1, "sentence_pause": 0.2}}, {"tts.speed": "1.10", "tts.sentence_pause": ".2"}),
        ("convert_voice", {"tts": {"engine": "sherpa", "voice": "3"}}, {"tts.engine": "sherpa", "tts.voice": "3"}),
        ("chat", {"llm": {"max_tokens": 8, "temperature": 1}}, {"llm.max_tokens": "8", "llm.temperature": "1.0"}),
        ("translate", {"mt": {"engine": "openai"}, "stt": {"beam_size": 1}}, {"mt.engine": "openai", "stt.beam_size": "1"}),
    ],
)
def test_a_stages_option_is_one_however_it_is_written(operation: str, given: dict[str, object], written: dict[str, object]) -> None:
    cls = engine_class(operation, "cascade")
    one, other = cls.Options.parse(given), cls.Options.parse(written)
    assert one.canonical() == other.canonical()
    assert cls.Options.parse(json.loads(one.canonical())) == one
    assert one != cls.Options()


def test_an_option_of_chatterboxs_own_voice_is_one_however_it_is_written() -> None:
    cls = engine_class("restyle", "chatterbox")
    assert cls.Options.parse({"tts.temperature": "0.70"}) == cls.Options.parse({"tts": {"temperature": 0.7}})


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
