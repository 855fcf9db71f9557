"""SmolLM2 with its real weights: short answers, the same every time, and what does not fit refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from transforms import complete
from transforms.engine import Place
from transforms.engines.smollm import CONTEXT, MODEL, SmolLM
from transforms.pull import pull
from transforms.records import Failure, Outcome, Piece, Result
from transforms.settings import Settings

pytest.importorskip("xllamacpp")


@pytest.fixture(scope="module")
def smollm() -> Iterator[SmolLM]:
    settings = Settings()
    pull(MODEL, settings)
    engine = SmolLM()
    engine.load(Place("cpu", 1, settings.models_dir))
    yield engine
    engine.close()


def ask(engine: SmolLM, text: str, seed: int = 1, **values: Any) -> Outcome:
    return engine.run([Piece({"text": text}, complete.Options.parse(values), seed)])[0]


def text_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Result)
    text: str = outcome.fields["text"]
    return text


def test_a_question_is_answered_and_its_tokens_are_counted(smollm: SmolLM) -> None:
    outcome = ask(smollm, "Hi, what is the capital of France?")
    assert "Paris" in text_of(outcome)
    assert isinstance(outcome, Result)
    assert 3 <= outcome.fields["tokens"] <= 40


def test_the_system_and_what_was_said_before_show_in_the_answer(smollm: SmolLM) -> None:
    turns = [{"role": "user", "content": "My name is Zebedee."}, {"role": "assistant", "content": "Hello Zebedee!"}]
    told = [
        text_of(ask(smollm, "What is my name?", max_tokens=20, **more)) for more in ({}, {"messages": turns}, {"system": "You are a cat."})
    ]
    assert len(set(told)) == 3


def test_an_answer_ends_at_its_limit(smollm: SmolLM) -> None:
    outcome = ask(smollm, "Tell me a long story.", max_tokens=5)
    assert isinstance(outcome, Result)
    assert outcome.fields["tokens"] == 5


def test_the_seed_decides_where_the_temperature_leaves_a_choice(smollm: SmolLM) -> None:
    told = [text_of(ask(smollm, "Tell me a story.", seed, max_tokens=20, temperature=1.5)) for seed in (1, 1, 2, 3)]
    assert told[0] == told[1]
    assert len(set(told)) > 1


def test_who_was_answered_before_does_not_show_in_an_answer(smollm: SmolLM) -> None:
    first = text_of(ask(smollm, "Tell me about rivers.", max_tokens=40))
    ask(smollm, "Tell me about rivers and hills.", max_tokens=10)
    assert text_of(ask(smollm, "Tell me about rivers.", max_tokens=40)) == first


def test_conversations_side_by_side_are_answered_as_they_are_alone_by_as_many_as_there_are_threads(smollm: SmolLM) -> None:
    engine = SmolLM()
    engine.load(Place("cpu", 2, Settings().models_dir))
    texts = [f"Tell me about the number {n}." for n in range(6)]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda text: text_of(ask(engine, text, max_tokens=16)), texts))
    assert told == [text_of(ask(smollm, text, max_tokens=16)) for text in texts]
    assert (len(engine._idle), len(smollm._idle)) == (2, 1)
    engine.close()


def test_a_conversation_longer_than_the_context_is_refused_as_too_long(smollm: SmolLM) -> None:
    outcome = ask(smollm, "hello world " * CONTEXT)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.field) == ("text_too_long", "text")
    assert str(CONTEXT) in outcome.detail
