"""A conversation as options, and its answer as a result."""

from __future__ import annotations

from typing import Any

import pytest

from transforms import complete
from transforms.engine import engine_class
from transforms.errors import WavemillError
from transforms.records import Input, Item, Result

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


def parse(**options: Any) -> Any:
    return engine_class("complete", "echo").Options.parse(options)


def split(text: str, **options: Any) -> Any:
    item = Item("0" * 64, "a", "complete", "echo", parse(**options), {"text": Input("text", text)})
    return item, complete.split(item, {"text": text}, engine_class("complete", "echo")())


def test_the_model_hears_its_part_then_what_was_said_then_the_message() -> None:
    _, (piece,) = split(" How are you? ", system="Be brief.", messages=TURNS)
    told = complete.conversation(piece)
    assert told == [{"role": "system", "content": "Be brief."}, *TURNS, {"role": "user", "content": "How are you?"}]


def test_messages_may_be_a_json_text_and_are_the_same_identity() -> None:
    text = '[{"role": "user", "content": "Hi"}, {"content": "Hello!", "role": "assistant"}]'
    assert parse(messages=text) == parse(messages=TURNS)
    assert parse(messages=text).canonical() == parse(messages=TURNS).canonical()
    assert parse(messages="").canonical() == "{}"


@pytest.mark.parametrize("messages", ["{", "[1]", '[{"role": "judge", "content": ""}]', '{"role": "user"}', '[{"role": "user"}]', 7])
def test_messages_that_are_none_are_refused(messages: Any) -> None:
    with pytest.raises(WavemillError) as caught:
        parse(messages=messages)
    assert (caught.value.code, caught.value.field) == ("bad_option", "messages")


@pytest.mark.parametrize(("text", "code"), [(" \n", "empty_text"), ("x" * 4001, "text_too_long")])
def test_a_message_of_nothing_or_of_too_much_is_refused(text: str, code: str) -> None:
    with pytest.raises(WavemillError) as caught:
        split(text)
    assert caught.value.code == code


def test_the_answer_is_a_field_and_a_file_and_its_tokens_are_told_where_they_are_known() -> None:
    item, pieces = split("Hi")
    result = complete.join(item, pieces, [Result({"text": "Hello!", "tokens": 3})], engine_class("complete", "echo")())
    assert result.fields == {"text": "Hello!", "tokens": 3}
    assert (result.outputs["answer"].format, result.outputs["answer"].data) == ("txt", b"Hello!")
