"""Chat whose model is an endpoint: what it is asked, and what its troubles cost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import wavemill
from tests.transforms.text_endpoint import Answer, Endpoint, said, serve
from transforms import codec
from transforms.options import AudioOptions
from transforms.records import Audio

from .conftest import Runner

STAGES = {"llm.engine": "openai", "stt.engine": "echo", "tts.engine": "echo"}
TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


def agree(body: dict[str, Any]) -> Answer:
    return said(f"You say {body['messages'][-1]['content']}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    given = {"MODEL": "tiny", "KEY": "sk-secret", "WAIT_S": "0.01", "ATTEMPTS": "2", "TIMEOUT_S": "0.5"}
    with serve() as running:
        running.usual = agree
        for name, value in {"URL": running.url, **given}.items():
            monkeypatch.setenv(f"WAVEMILL_TEXT_{name}", value)
        yield running


def chat(runner: Runner, rows: list[dict[str, Any] | str], **options: Any) -> dict[str, int]:
    runner.write(rows)
    return runner.run(operation="chat", engine="cascade", options={**STAGES, **options}).failed


def ask(*flags: str) -> Result:
    stages = [f"-O{name}={value}" for name, value in STAGES.items()]
    return CliRunner().invoke(wavemill.root, ["chat", *stages, *flags])


def test_the_endpoint_is_asked_with_what_was_said_before_and_its_answer_is_spoken(runner: Runner, server: Endpoint) -> None:
    path = runner.folder / "said.wav"
    path.write_bytes(codec.encode(Audio(np.full((1, 1600), 0.3, np.float32), 16000), AudioOptions(format="wav")).data)
    rows = [{"id": "written", "text": "And now?", "messages": TURNS}, {"id": "aloud", "audio": str(path), "messages": json.dumps(TURNS)}]
    assert chat(runner, [*rows, {"id": "first", "text": "Hi"}], system="Be brief.") == {}
    order = {"role": "system", "content": "Be brief."}
    heard = "0.100 seconds, peak 0.30"
    asked = sorted((body["messages"] for body in server.bodies), key=lambda messages: (len(messages), messages[-1]["content"]))
    assert asked == [
        [order, {"role": "user", "content": "Hi"}],
        [order, *TURNS, {"role": "user", "content": heard}],
        [order, *TURNS, {"role": "user", "content": "And now?"}],
    ]
    assert {(body["path"], body["model"]) for body in server.bodies} == {("/v1/chat/completions", "tiny")}
    told = {row["id"]: {**json.loads(row["fields"]), **row} for row in runner.manifest()}
    assert {id: (row["source_text"], row["text"]) for id, row in told.items()} == {
        "written": ("And now?", "You say And now?"),
        "aloud": (heard, f"You say {heard}"),
        "first": ("Hi", "You say Hi"),
    }
    for row in told.values():
        assert codec.decode(Path(row["uri"]), None, None, 10.0).duration_s == pytest.approx(0.1, abs=0.05)


def test_an_endpoint_that_is_slow_or_answers_nonsense_costs_those_turns_and_the_slow_ones_are_asked_again(
    runner: Runner, server: Endpoint
) -> None:
    healthy = False

    def answer(body: dict[str, Any]) -> Answer:
        asked = body["messages"][-1]["content"]
        if asked == "slow" and not healthy:
            time.sleep(0.8)
        return (200, b"<html>") if asked == "garbled" and not healthy else agree(body)

    server.usual = answer
    rows: list[dict[str, Any] | str] = [{"id": text, "text": text} for text in ("one", "garbled", "slow", "two")]
    assert chat(runner, rows) == {"endpoint_nonsense": 1, "endpoint_unavailable": 1}
    found = {row["id"]: row for row in runner.manifest()}
    assert (found["garbled"]["code"], found["slow"]["code"]) == ("endpoint_nonsense", "endpoint_unavailable")
    assert found["garbled"]["detail"].startswith("complete: ") and "after 2 attempts" in found["slow"]["detail"]
    assert [found[id]["text"] for id in ("one", "two")] == ["You say one", "You say two"]
    healthy = True
    server.bodies.clear()
    assert chat(runner, rows) == {"endpoint_nonsense": 1}
    assert [body["messages"][-1]["content"] for body in server.bodies] == ["slow"]


def test_one_turn_that_fails_exits_1_with_the_endpoints_trouble_and_never_the_key(server: Endpoint, runner: Runner) -> None:
    file = str(runner.folder / "answer.mp3")
    server.answers = [(200, b'{"choices": []}')]
    answer = ask("--text", "Hi", "-o", file)
    assert (answer.exit_code, answer.stderr.split(": ")[:3]) == (1, ["wavemill", "endpoint_nonsense", "complete"])
    server.hold.clear()
    slow = ask("--text", "Hi", "-o", file)
    server.hold.set()
    assert (slow.exit_code, slow.stderr.split(": ")[:3]) == (1, ["wavemill", "endpoint_unavailable", "complete"])
    good = ask("--text", "Hi", "-o", file, "--json", "--messages", json.dumps(TURNS))
    assert (good.exit_code, json.loads(good.stdout)["items"][0]["text"]) == (0, "You say Hi")
    assert server.bodies[-1]["messages"][:2] == TURNS
    assert "sk-secret" not in answer.stderr + slow.stderr + good.output


def test_an_endpoint_that_is_down_fails_the_turn_and_one_that_refuses_us_ends_the_command(
    server: Endpoint, monkeypatch: pytest.MonkeyPatch, runner: Runner
) -> None:
    file = str(runner.folder / "answer.mp3")
    server.usual = lambda body: (401, b"")
    refused = ask("--text", "Hi", "-o", file)
    assert (refused.exit_code, refused.stderr.split(": ")[1]) == (3, "engine_unloadable")
    with serve() as gone:
        monkeypatch.setenv("WAVEMILL_TEXT_URL", gone.url)
    down = ask("--text", "Hi", "-o", file)
    assert (down.exit_code, down.stderr.split(": ")[1]) == (1, "endpoint_unavailable")
    assert chat(runner, [{"text": str(n)} for n in range(3)]) == {"endpoint_unavailable": 3}


def test_without_an_endpoint_the_turn_is_refused_with_what_to_set() -> None:
    answer = ask("--text", "Hi")
    assert answer.exit_code == 2
    assert answer.stderr.startswith("wavemill: model_unavailable: no endpoint: set WAVEMILL_TEXT_URL")
