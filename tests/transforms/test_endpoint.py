"""One chat request: when it is tried again, and what its failures are called."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.transforms.text_endpoint import Endpoint, said, serve
from transforms import endpoint
from transforms.errors import WavemillError, kind
from transforms.settings import TextEndpoint

KEY = "sk-very-secret"
HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def server() -> Iterator[Endpoint]:
    with serve() as running:
        yield running


def settings(server: Endpoint, **more: Any) -> TextEndpoint:
    return TextEndpoint(**{"url": server.url, "key": KEY, "model": "tiny", "wait_s": 0.01, "timeout_s": 5, "attempts": 3, **more})


def ask(known: TextEndpoint, **request: Any) -> endpoint.Answer:
    client = endpoint.open_client(known)
    try:
        return endpoint.chat(client, known, HELLO, **request)
    finally:
        client.close()


def failure(known: TextEndpoint) -> WavemillError:
    with pytest.raises(WavemillError) as caught:
        ask(known)
    assert KEY not in caught.value.detail
    return caught.value


def test_an_answer_comes_with_its_length_and_the_request_says_who_asks_for_what(server: Endpoint) -> None:
    assert ask(settings(server), max_tokens=9) == ("<Hello>", 7, "")
    assert server.bodies == [{"path": "/v1/chat/completions", "model": "tiny", "messages": HELLO, "max_tokens": 9}]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent(server: Endpoint) -> None:
    ask(settings(server, key=""))
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_trouble_that_passes_is_waited_out(server: Endpoint, status: int) -> None:
    server.answers = [(status, b"busy")]
    assert ask(settings(server))[0] == "<Hello>"
    assert len(server.bodies) == 2


def test_an_endpoint_that_always_fails_is_unavailable_and_may_be_tried_by_the_next_run(server: Endpoint) -> None:
    server.usual = lambda body: (500, b"broken")
    error = failure(settings(server))
    assert (error.code, kind(error.code), len(server.bodies)) == ("endpoint_unavailable", "transient", 3)
    assert "500" in error.detail


def test_an_endpoint_that_is_down_is_unavailable() -> None:
    with serve() as gone:
        known = settings(gone)
    assert failure(known).code == "endpoint_unavailable"


def test_an_endpoint_that_hangs_is_unavailable_after_its_time(server: Endpoint) -> None:
    server.hold.clear()
    assert failure(settings(server, timeout_s=0.1, attempts=2)).code == "endpoint_unavailable"
    assert len(server.bodies) == 2


def test_an_endpoint_whose_answer_drips_is_unavailable_after_its_time_too(server: Endpoint) -> None:
    server.drop_s = 0.05
    began_s = time.monotonic()
    error = failure(settings(server, timeout_s=0.2, attempts=2))
    assert (error.code, len(server.bodies)) == ("endpoint_unavailable", 2)
    assert time.monotonic() - began_s < 2


def test_an_answer_without_end_is_nonsense_and_is_not_read_on(server: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "MOST_BYTES", 1000)
    server.answers = [said("a" * 800), said("a" * 1001)]
    assert ask(settings(server))[0] == "a" * 800
    assert failure(settings(server)).code == "endpoint_nonsense"
    assert len(server.bodies) == 2


def test_an_answer_that_is_not_packed_as_it_says_is_nonsense(server: Endpoint) -> None:
    server.encoding = "gzip"
    assert failure(settings(server)).code == "endpoint_nonsense"
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        b"[" * 100_000,
        said("half \ud83d")[1],
        b"<html>",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": null}',
        b'"text"',
        said(None)[1],
        said("")[1],
        said(3)[1],
        b"\xff",
    ],
)
def test_an_answer_without_a_text_blames_the_item_and_is_not_asked_for_again(server: Endpoint, nonsense: bytes) -> None:
    server.answers = [(200, nonsense)]
    error = failure(settings(server))
    assert (error.code, kind(error.code), len(server.bodies)) == ("endpoint_nonsense", "item", 1)


@pytest.mark.parametrize("finish", ["length", "content_filter", "stop", None])
def test_an_answer_that_the_endpoint_cut_says_so(server: Endpoint, finish: str | None) -> None:
    choice = {"message": {"content": "cut of"}, "finish_reason": finish}
    server.answers = [(200, json.dumps({"choices": [choice]}).encode())]
    assert ask(settings(server)) == ("cut of", None, finish if finish in ("length", "content_filter") else "")


def test_a_request_that_makes_no_sense_to_it_is_not_asked_for_again(server: Endpoint) -> None:
    server.answers = [(400, b"no")]
    assert failure(settings(server)).code == "engine_error"
    assert len(server.bodies) == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_who_is_refused_with_a_plain_request_too_is_refused_altogether(server: Endpoint, status: int) -> None:
    server.usual = lambda body: (status, b"no")
    error = failure(settings(server))
    assert (error.code, kind(error.code), len(server.bodies)) == ("engine_unloadable", "system", 2)
    assert server.bodies[1]["messages"] == [{"role": "user", "content": "Hello"}] and server.bodies[1]["max_tokens"] == 1


@pytest.mark.parametrize(("status", "code"), [(400, "engine_error"), (503, "endpoint_unavailable")])
def test_a_plain_request_that_is_not_refused_but_fails_otherwise_ends_no_run(server: Endpoint, status: int, code: str) -> None:
    server.answers = [(403, b"moderated")]
    server.usual = lambda body: (status, b"no")
    error = failure(settings(server, attempts=1))
    assert (error.code, kind(error.code) == "system") == (code, False)


def test_one_request_that_is_refused_where_others_are_not_is_its_items_fault(server: Endpoint) -> None:
    server.answers = [(403, b"moderated")]
    error = failure(settings(server))
    assert (error.code, kind(error.code)) == ("engine_error", "item") and "403" in error.detail


def test_what_the_server_asks_to_wait_is_waited_but_never_long() -> None:
    class State:
        attempt_number = 2

        class outcome:
            @staticmethod
            def exception() -> Any:
                return endpoint._Again("busy", State.asked)

        asked = 0.0

    wait = endpoint._Wait(0.5)
    for asked, expected in ((0.0, 1.0), (3.0, 3.0), (9999.0, endpoint.LONGEST_WAIT_S)):
        State.asked = asked
        assert wait(State()) == expected


def test_the_identity_names_endpoint_and_model_and_no_secret() -> None:
    known = TextEndpoint(url="https://me:hidden@llm.example/v1/?token=hidden", key=KEY, model="tiny")
    assert endpoint.identity(known) == "tiny@https://llm.example/v1"
    assert endpoint.identity(known, "large") == "large@https://llm.example/v1"
    assert KEY not in repr(known)


def test_nothing_that_is_logged_holds_the_key(server: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(settings(server))
    assert "chat/completions" in caplog.text
    assert KEY not in caplog.text


def test_the_line_end_that_a_mounted_file_gives_a_key_is_not_sent(server: Endpoint) -> None:
    ask(settings(server, key=f"{KEY}\n"))
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEY", "clé-secrète"), ("KEY", "two\nsecrets"), ("TIMEOUT_S", "nan"), ("TIMEOUT_S", "abc"), ("URL", "http://[::1/v1"),
     ("URL", "http://"), ("URL", "http://host:99999/v1")],
)  # fmt: skip
def test_a_setting_that_cannot_work_is_named_and_a_secret_one_not_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"WAVEMILL_TEXT_{name}", value)
    with pytest.raises(WavemillError, match=f"WAVEMILL_TEXT_{name}: ") as caught:
        TextEndpoint.here()
    assert caught.value.code == "bad_usage" and "secr" not in caught.value.detail


def test_a_request_that_cannot_be_sent_does_not_tell_its_headers(server: Endpoint) -> None:
    client = endpoint.open_client(settings(server))
    client.headers["Authorization"] = "Bearer two\nlines"
    with client, pytest.raises(WavemillError) as caught:
        endpoint.chat(client, settings(server, attempts=1), HELLO)
    assert caught.value.code == "endpoint_unavailable" and "lines" not in caught.value.detail


@pytest.mark.parametrize("known", [{}, {"url": "ftp://a", "model": "m"}, {"url": "http://a"}])
def test_an_endpoint_that_nobody_named_is_said_to_be_missing(known: dict[str, str]) -> None:
    with pytest.raises(WavemillError, match="WAVEMILL_TEXT_") as caught:
        endpoint.check(TextEndpoint(**known))
    assert caught.value.code == "model_unavailable"
