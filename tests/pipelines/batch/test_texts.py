"""Operations from text to text through the pipeline."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.transforms.engines.test_apertium import real
from tests.transforms.text_endpoint import echo, serve
from transforms.pull import pull
from transforms.settings import Settings

from .conftest import Runner


def test_rows_are_translated_each_into_its_own_language(runner: Runner) -> None:
    rows = [{"text": "Hello.\n\nAgain.", "to": "es"}, {"text": "Hello."}, {"text": "Hi.", "to": ""}, {"text": "---"}]
    runner.write([{"id": str(n), **row} for n, row in enumerate(rows)])
    summary = runner.run(operation="translate_text", options={"to": "fr"})
    assert (summary.done, summary.failed) == (2, {"bad_option": 1, "empty_text": 1})
    assert [(row["text"], row["language"]) for row in runner.manifest() if row["status"] == "done"] == [
        ("[es] Hello.\n\n[es] Again.", "es"),
        ("[fr] Hello.", "fr"),
    ]
    assert sorted(runner.blobs().values()) == [b"[es] Hello.\n\n[es] Again.", b"[fr] Hello."]


def test_a_second_run_has_nothing_left_to_translate(runner: Runner) -> None:
    runner.write([{"text": "Hello."}])
    runner.run(operation="translate_text", options={"to": "fr"})
    again = runner.run(operation="translate_text", options={"to": "fr"})
    assert (again.done, runner.heard.units) == (1, [])


def test_rows_may_hold_the_conversation_so_far(runner: Runner) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
    runner.write([{"id": "list", "text": "And?", "messages": turns}, {"id": "json", "text": "And?", "messages": json.dumps(turns)}])
    summary = runner.run(operation="complete")
    assert summary.failed == {}
    assert {row["text"] for row in runner.manifest()} == {"3 messages, the last: And?"}


def test_an_endpoint_that_answers_nonsense_or_nothing_costs_those_rows_and_the_next_run_asks_again(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy = False

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        asked = body["messages"][-1]["content"]
        if asked == "garbled" and not healthy:
            return 200, b"<html>"
        return (503, b"") if asked == "busy" and not healthy else echo(body)

    with serve() as server:
        server.usual = answer
        given = {"URL": server.url, "MODEL": "tiny", "WAIT_S": "0.01", "ATTEMPTS": "2"}
        for name, value in given.items():
            monkeypatch.setenv(f"WAVEMILL_TEXT_{name}", value)
        runner.write([{"id": text, "text": text} for text in ("one", "garbled", "two", "busy", "three")])
        run = partial(runner.run, operation="complete", engine="openai")
        summary = run()
        assert (summary.done, summary.failed) == (3, {"endpoint_nonsense": 1, "endpoint_unavailable": 1})
        assert [row["text"] for row in runner.manifest() if row["status"] == "done"] == ["<one>", "<two>", "<three>"]
        healthy = True
        server.bodies.clear()
        summary = run()
        assert [body["messages"][-1]["content"] for body in server.bodies] == ["busy"]
        assert (summary.done, summary.failed) == (4, {"endpoint_nonsense": 1})
        assert runner.replay().failed == {}


def test_an_endpoint_that_is_down_fails_every_row_and_the_run_ends(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as gone:
        monkeypatch.setenv("WAVEMILL_TEXT_URL", gone.url)
    for name, value in {"MODEL": "tiny", "WAIT_S": "0.01", "ATTEMPTS": "2"}.items():
        monkeypatch.setenv(f"WAVEMILL_TEXT_{name}", value)
    runner.write([{"text": str(n)} for n in range(5)])
    summary = runner.run(operation="translate_text", engine="openai", options={"to": "es"})
    assert (summary.done, summary.failed) == (0, {"endpoint_unavailable": 5})


@pytest.mark.slow
def test_messages_are_answered_by_the_model_of_this_machine_each_by_itself_and_the_same_each_time(runner: Runner) -> None:
    pull("smollm2-135m", Settings())
    asked, flags = "Hi, what is the capital of France?", ("--max-tokens", "24", "--max-failures", "2")
    turns = [{"role": "user", "content": "My name is Zebedee."}, {"role": "assistant", "content": "Hello Zebedee!"}]
    runner.write(
        [
            {"id": "alone", "text": asked},
            {"id": "nothing", "text": " "},
            {"id": "again", "text": asked},
            {"id": "short", "text": asked, "max_tokens": 3},
            {"id": "first", "text": "What is my name?"},
            {"id": "later", "text": "What is my name?", "messages": turns},
            {"id": "no turns", "text": asked, "messages": "Hi"},
        ]
    )
    told = runner.command("complete", *flags)
    assert (told["engine"], told["done"], told["failed"]) == ("smollm", 5, {"empty_text": 1, "bad_option": 1})
    rows = {row["id"]: row for row in runner.manifest() if row["status"] == "done"}
    fields = {name: json.loads(row["fields"]) for name, row in rows.items()}
    assert "Paris" in rows["alone"]["text"] and rows["alone"]["text"] == rows["again"]["text"]
    assert fields["short"]["tokens"] == 3 < fields["alone"]["tokens"]
    assert rows["later"]["text"] != rows["first"]["text"]
    assert {Path(row["uri"]).read_text() for row in rows.values()} == {row["text"] for row in rows.values()}
    assert runner.command("complete", *flags)["made"] == 0


@real
def test_texts_are_translated_by_the_program_of_this_machine_and_a_pair_it_lacks_costs_its_row(runner: Runner) -> None:
    runner.write(
        [
            {"id": "one", "text": "The boat is late.\n\nGood morning."},
            {"id": "back", "text": "El barco es grande.", "source": "es", "to": "en"},
            {"id": "nobody's", "text": "The boat is late.", "to": "tlh"},
        ]
    )
    flags = ("--to", "es", "--max-failures", "1")
    told = runner.command("translate-text", *flags)
    assert (told["engine"], told["done"], told["failed"]) == ("apertium", 2, {"unsupported_language": 1})
    rows = {row["id"]: row for row in runner.manifest() if row["status"] == "done"}
    assert {name: (row["text"], row["language"]) for name, row in rows.items()} == {
        "one": ("El bote es tarde.\n\nBuenos días.", "es"),
        "back": ("The ship is big.", "en"),
    }
    assert [Path(row["uri"]).read_text() for row in rows.values()] == [row["text"] for row in rows.values()]
    assert runner.command("translate-text", *flags)["made"] == 0
