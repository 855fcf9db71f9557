"""The endpoint's engines: what they ask, and that one piece's failure is its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.transforms.text_endpoint import Endpoint, echo, serve
from transforms.engine import Engine, Place, engine_class
from transforms.errors import WavemillError
from transforms.records import Failure, Item, Outcome, Piece, Result


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    with serve() as running:
        for name, value in (("URL", running.url), ("MODEL", "tiny"), ("KEY", "sk-secret"), ("WAIT_S", "0.01"), ("ATTEMPTS", "2")):
            monkeypatch.setenv(f"WAVEMILL_TEXT_{name}", value)
        yield running


def run(operation: str, *texts: str, **values: Any) -> list[Outcome]:
    cls = engine_class(operation, "openai")
    engine: Engine = cls()
    options = cls.Options.parse(values)
    engine.load(Place())
    outcomes = engine.run([Piece({"text": text}, options, 2**40 + 5) for text in texts])
    engine.close()
    return outcomes


def test_a_translation_is_asked_for_by_the_languages_codes(server: Endpoint) -> None:
    assert run("translate_text", "Hello", source="en", to="es") == [Result({"text": "<Hello>", "tokens": 7})]
    (body,) = server.bodies
    order, given = body["messages"]
    assert order["role"] == "system"
    assert "code en " in order["content"]
    assert "code es." in order["content"]
    assert given == {"role": "user", "content": "Hello"}
    assert (body["model"], body["temperature"], body["seed"]) == ("tiny", 0, 5)


def test_an_answer_is_asked_for_with_the_conversation_and_its_limits(server: Endpoint) -> None:
    run("complete", "Hi", system="Be brief.", max_tokens=9, temperature=0.5, model="large")
    (body,) = server.bodies
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("large", 0.5, 9)


def test_one_piece_that_fails_leaves_the_others_their_answers(server: Endpoint) -> None:
    server.usual = lambda body: (200, b"nonsense") if body["messages"][-1]["content"] == "bad" else echo(body)
    first, middle, last = run("complete", "one", "bad", "two")
    assert isinstance(middle, Failure)
    assert middle.code == "endpoint_nonsense"
    assert (first, last) == (Result({"text": "<one>", "tokens": 7}), Result({"text": "<two>", "tokens": 7}))


def test_a_translation_that_was_cut_is_no_translation_and_a_cut_answer_says_so(server: Endpoint) -> None:
    cut = {"choices": [{"message": {"content": "Half of"}, "finish_reason": "length"}]}
    server.usual = lambda body: (200, json.dumps(cut).encode())
    (translated,), (answered,) = run("translate_text", "Hello there", to="es"), run("complete", "Hi")
    assert isinstance(translated, Failure) and translated.code == "endpoint_nonsense" and "length" in translated.detail
    assert answered == Result({"text": "Half of", "finish_reason": "length"})


def test_an_endpoint_that_is_down_is_each_pieces_failure_and_one_that_refuses_us_ends_the_run(server: Endpoint) -> None:
    server.usual = lambda body: (502, b"")
    (outcome,) = run("complete", "one")
    assert isinstance(outcome, Failure)
    assert outcome.code == "endpoint_unavailable"
    server.usual = lambda body: (401, b"")
    with pytest.raises(WavemillError) as caught:
        run("complete", "one")
    assert caught.value.code == "engine_unloadable"


@pytest.mark.parametrize("operation", ["translate_text", "complete"])
def test_the_identity_is_endpoint_and_model_and_never_the_key(server: Endpoint, operation: str) -> None:
    cls = engine_class(operation, "openai")
    assert cls().weights(cls.Options()) == f"tiny@{server.url}"
    assert cls().weights(cls.Options.parse({"model": "large"})) == f"large@{server.url}"


@pytest.mark.parametrize("operation", ["translate_text", "complete"])
def test_without_an_endpoint_an_item_is_refused_with_what_to_set(operation: str) -> None:
    cls = engine_class(operation, "openai")
    options = cls.Options.parse({"to": "es"} if operation == "translate_text" else {})
    with pytest.raises(WavemillError, match="WAVEMILL_TEXT_URL"):
        cls().check(Item("", "", operation, "openai", options, {}))
