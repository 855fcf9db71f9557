"""Outcomes as messages: whole, of a bounded size, and as their schema says."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hypothesis import given, strategies as st

from sinks import replies
from transforms.options import Options
from transforms.records import Failure, Item, Result, Stored
from transforms.store import Store

PLACE = replies.Place(topic="in", partition=3, offset=7)
ITEM = Item("ab" * 32, "one", "transcribe", "echo", Options(), {})


def test_the_published_schema_is_the_one_that_is_written() -> None:
    published = Path(replies.__file__).with_name("reply.schema.json")
    assert json.loads(published.read_text()) == replies.schema()


def test_a_result_tells_where_its_message_stood_and_where_its_outputs_are(tmp_path: Path) -> None:
    stored = Stored("transcript", "blobs/ab/x.json", "json", 4, "00", None)
    reply = replies.REPLY.validate_json(
        replies.done(
            PLACE,
            ITEM,
            Result({"text": "hi", "lufs": -math.inf, "segments": ({"start": 0.0},)}, {"transcript": stored}),
            Store(str(tmp_path)),
        )
    )
    assert isinstance(reply, replies.Done)
    assert (reply.source, reply.id, reply.key) == (PLACE, "one", ITEM.key)
    assert reply.fields == {"text": "hi", "lufs": None, "segments": [{"start": 0.0}]}
    assert reply.outputs[0].uri == f"{tmp_path}/blobs/ab/x.json"


def test_fields_too_long_for_a_message_become_an_output(tmp_path: Path) -> None:
    text = "word " * (replies.REPLY_BYTES // 4)
    data = replies.done(PLACE, ITEM, Result({"text": text}), Store(str(tmp_path)))
    reply = replies.REPLY.validate_json(data)
    assert len(data) < replies.REPLY_BYTES and isinstance(reply, replies.Done) and reply.fields == {}
    assert json.loads(Path(reply.outputs[-1].uri).read_bytes()) == {"text": text}


@given(original=st.none() | st.binary(max_size=100) | st.binary(min_size=1, max_size=3).map(lambda some: some * replies.ORIGINAL_BYTES))
def test_a_failure_keeps_every_byte_of_its_original(original: bytes | None) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        failure = Failure("bad_message", "it is none", "inputs")
        data = replies.failed(PLACE, "", "", "transcribe", "echo", failure, original, Store(folder))
        reply = replies.REPLY.validate_json(data)
        assert isinstance(reply, replies.Failed) and len(data) < replies.REPLY_BYTES
        kept = Path(reply.original_uri).read_bytes() if reply.original_uri else reply.original
        assert kept == original
        assert (reply.code, reply.detail, reply.field) == ("bad_message", "it is none", "inputs")


def test_what_a_failure_says_is_cut_to_a_length_that_fits(tmp_path: Path) -> None:
    failure = Failure("bad_message", "\0" * 1_000_000, "n" * 1_000_000)
    data = replies.failed(PLACE, "", "", "transcribe", "echo", failure, b"x" * replies.ORIGINAL_BYTES, Store(str(tmp_path)))
    reply = replies.REPLY.validate_json(data)
    assert isinstance(reply, replies.Failed) and len(data) < replies.REPLY_BYTES
    assert (len(reply.detail), len(reply.field or "")) == (replies.DETAIL_LETTERS, replies.FIELD_LETTERS)
