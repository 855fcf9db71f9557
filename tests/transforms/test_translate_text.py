"""Splitting a text for translation and putting it together again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from transforms import sentences, translate_text
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.records import Input, Item, Piece, Result

SOME_WORDS = st.sampled_from(["Hello there.", "No.", "one two", "Is it late? Yes!", "---", "好。好吧。", "x" * 50, "  ", "a\tb"])
BREAKS = st.sampled_from(["\n\n", "\n", " ", "\n \n\n", "\r\n\r\n", ""])
TEXTS = st.lists(st.tuples(SOME_WORDS, BREAKS), min_size=1, max_size=12).map(lambda found: "".join(a + b for a, b in found))


def item(text: str, **options: Any) -> Item:
    parsed = engine_class("translate_text", "echo").Options.parse({"to": "es", **options})
    return Item("0" * 64, "a", "translate_text", "echo", parsed, {"text": Input("text", text)})


def engine(max_chars: int) -> Any:
    made = engine_class("translate_text", "echo")()
    made.max_chars = max_chars  # type: ignore[misc]
    return made


def through(text: str, max_chars: int = 40, **options: Any) -> tuple[list[Piece], Result]:
    """The pieces of a text and the result, when each piece's translation is itself."""
    one, by = item(text, **options), engine(max_chars)
    pieces = translate_text.split(one, {"text": text}, by)
    return pieces, translate_text.join(one, pieces, [Result({"text": piece.inputs["text"]}) for piece in pieces], by)


def letters(text: str) -> list[str]:
    """Each paragraph without its white space, which depends on the language where a long one is cut."""
    return ["".join(paragraph.split()) for paragraph in sentences.paragraphs(text)]


def blank_lines(text: str) -> int:
    return sum(not line.strip() for line in text.split("\n"))


@given(TEXTS, st.integers(5, 80))
def test_splitting_and_joining_loses_no_paragraph_and_no_blank_line(text: str, max_chars: int) -> None:
    if not sentences.spoken(text):
        return
    text = text.replace("\r\n", "\n")
    pieces, result = through(text, max_chars)
    assert letters(result.fields["text"]) == letters(text)
    assert blank_lines(result.fields["text"]) == blank_lines(text)
    assert all(0 < len(str(piece.inputs["text"])) <= max_chars for piece in pieces)


@given(TEXTS)
def test_paragraphs_under_the_limit_come_back_as_they_were(text: str) -> None:
    if sentences.spoken(text):
        text = text.replace("\r\n", "\n")
        pieces, result = through(text, 10_000)
        told, meant = (list(map(str.split, sentences.paragraphs(one))) for one in (result.fields["text"], text))
        assert told == meant
        assert len(pieces) == sum(map(sentences.spoken, sentences.paragraphs(text)))


def test_blank_lines_rules_and_line_ends_stand_where_they_stood() -> None:
    text = "\n# Title\n\n\nFirst line.\nSecond line.\n\n---\n\nLast.\n"
    assert through(text)[1].fields["text"] == text


def test_a_line_that_was_only_wrapped_is_one_with_the_next() -> None:
    assert [piece.inputs["text"] for piece in through("The boat\nis late.", 100)[0]] == ["The boat is late."]


def test_a_long_paragraph_is_cut_between_sentences_that_say_the_same() -> None:
    pieces, result = through("No. No. No. Yes. No. No.", 9)
    assert [piece.inputs["text"] for piece in pieces] == ["No. No.", "No. Yes.", "No. No."]
    assert result.fields["text"] == "No. No. No. Yes. No. No."


def test_sentences_stand_as_the_language_they_are_in_now_has_them() -> None:
    one, by = item("好。好吧。", source="zh"), engine(3)
    pieces = translate_text.split(one, {"text": "好。好吧。"}, by)
    assert [piece.inputs["text"] for piece in pieces] == ["好。", "好吧。"]
    told = [Result({"text": "Bien."}), Result({"text": "Vale."})]
    assert translate_text.join(one, pieces, told, by).fields["text"] == "Bien. Vale."
    one = item("Well. Well.", to="zh-TW")
    pieces = translate_text.split(one, {"text": "Well. Well."}, engine(5))
    assert translate_text.join(one, pieces, [Result({"text": "好。"})] * 2, by).fields["text"] == "好。好。"


def test_the_result_names_both_languages_and_holds_the_text_as_a_file() -> None:
    _, result = through("Hello.", source="en")
    assert result.fields == {"text": "Hello.", "language": "es", "source": "en"}
    (name,) = result.outputs
    assert (name, result.outputs[name].format, result.outputs[name].data) == ("translation", "txt", b"Hello.")


def test_a_source_that_the_engine_found_out_is_named() -> None:
    one, by = item("Hello."), engine(100)
    pieces = translate_text.split(one, {"text": "Hello."}, by)
    assert translate_text.join(one, pieces, [Result({"text": "Hola.", "source": "en"})], by).fields["source"] == "en"


@pytest.mark.parametrize("text", ["", " \n\n ", "--- ... !"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(WavemillError) as caught:
        through(text)
    assert (caught.value.code, caught.value.field) == ("empty_text", "text")


@pytest.mark.parametrize("name", ["apertium", "ctranslate2", "openai", "echo"])
def test_every_engine_refuses_to_translate_into_nothing(name: str) -> None:
    cls = engine_class("translate_text", name)
    with pytest.raises(WavemillError) as caught:
        cls().check(Item("", "", "translate_text", name, cls.Options(), {}))
    assert (caught.value.code, caught.value.field) == ("bad_option", "to")
