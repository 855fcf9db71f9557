"""Operations from text to text through the pipeline."""

from __future__ import annotations

import json

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
