"""Claims: what a message may say, and what is told of one that says something else."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sources import claims
from transforms import storage
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.records import Input

SCHEMA = Path(claims.__file__).with_name("claim.schema.json")


def request(row: str, **claim: Any) -> claims.Request:
    return claims.request(claims.parse(json.dumps({"version": 1, **claim}).encode()), operation(row))


def refused(row: str, **claim: Any) -> WavemillError:
    with pytest.raises(WavemillError) as caught:
        request(row, **claim)
    return caught.value


def test_the_published_schema_is_the_one_that_is_checked() -> None:
    assert json.loads(SCHEMA.read_text()) == claims.schema()


def test_a_string_is_a_text_where_a_text_is_wanted_and_a_uri_where_audio_is() -> None:
    both = request("clone", id="x", inputs={"text": "s3://not/a/uri", "reference": "s3://b/x/../me.wav"}, options={"seed": 2})
    assert both.inputs == {"text": Input("text", "s3://not/a/uri"), "reference": Input("uri", "s3://b/me.wav")}
    assert (both.id, both.options, both.inline) == ("x", {"seed": 2}, {})


def test_a_text_may_also_be_fetched_and_a_uri_may_name_its_version() -> None:
    assert request("synthesize", inputs={"text": {"uri": "/a.txt", "version": "e1"}}).inputs == {"text": Input("uri", "/a.txt", "e1")}


def test_inline_audio_is_named_by_its_digest_and_there_while_it_is_held() -> None:
    data = b"RIFF"
    uri = f"{claims.INLINE}{hashlib.sha256(data).hexdigest()}"
    found = request("transcribe", inputs={"audio": {"data": base64.b64encode(data).decode()}})
    assert found.inputs == {"audio": Input("uri", uri)}
    claims.hold(found.inline)
    with storage.open_input(uri) as opened:
        assert opened.file.read() == data
    claims.drop(found.inline)
    with pytest.raises(WavemillError, match="no such file"), storage.open_input(uri):
        pass


def test_inline_audio_over_the_limit_is_too_large() -> None:
    error = refused("transcribe", inputs={"audio": {"data": base64.b64encode(bytes(claims.INLINE_BYTES + 1)).decode()}})
    assert error.code == "audio_too_large" and "give a URI" in error.detail


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        ({"inputs": {"txt": "x"}}, "did you mean text"),
        ({"inputs": {}}, "at least 1 item"),
        ({"inputs": {"text": "x"}, "version": 2}, "version"),
        ({"inputs": {"text": "x"}, "sped": 2}, "sped"),
        ({"inputs": {"text": {"uri": "lines/a.txt"}}}, "relative"),
        ({"inputs": {"text": 5}}, "inputs.text"),
    ],
)
def test_what_is_wrong_with_a_message_is_told(claim: dict[str, Any], said: str) -> None:
    error = refused("synthesize", **claim)
    assert error.code == "bad_message" and said in error.detail


def test_an_input_that_is_missing_is_named() -> None:
    assert refused("clone", inputs={"text": "x"}).field == "reference"


def code_of(value: bytes | None) -> str:
    try:
        claims.parse(value)
    except WavemillError as error:
        return error.code
    return ""


@given(st.binary() | st.text().map(str.encode) | st.none())
def test_any_bytes_are_a_claim_or_a_bad_message(value: bytes | None) -> None:
    assert code_of(value) in ("", "bad_message")


def test_a_name_that_no_reply_could_carry_is_refused() -> None:
    assert request("synthesize", id="i" * claims.ID_LETTERS, inputs={"text": "x"}).id
    assert refused("synthesize", id="i" * (claims.ID_LETTERS + 1), inputs={"text": "x"}).field == "id"


def test_key_and_headers_have_room_for_so_many_bytes_together() -> None:
    claims.require_carried(b"k" * (claims.CARRIED_BYTES - 3), [("h", b"\0\0")])
    with pytest.raises(WavemillError, match="are left out here") as caught:
        claims.require_carried(b"k" * (claims.CARRIED_BYTES - 3), [("h", b"\0\0\0")])
    assert caught.value.code == "bad_message"


@pytest.mark.parametrize("value", [None, b"", b"\xff", b'{"status": "failed"}', b'{"version": 1, "inputs": {"text": "\\"failed\\""}}'])
def test_what_is_no_failure_of_ours_is_left_as_it_is(value: bytes | None) -> None:
    assert claims.unwrap(value) == (value, None)
    assert claims.original(value) == value
