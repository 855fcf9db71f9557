"""Topics as bounded sources, as far as no broker is needed: their URLs, spans, and messages as rows."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from sources import topic
from sources.open import open_source
from sources.topic import Span, Topic
from transforms.errors import WavemillError
from transforms.operations import OPERATIONS
from transforms.store import Store

pytest.importorskip("kafka", reason="the extra kafka is not installed")
from sources.kafka import Mark, Message

SPEAK, CLONE, HEAR = OPERATIONS["synthesize"], OPERATIONS["clone"], OPERATIONS["transcribe"]


def message(value: Any, offset: int = 0) -> Message:
    data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Message("calls", 1, offset, b"k", data, (("trace", b"t\xff"),))


def stored(folder: Path, *values: Any, operation: Any = SPEAK) -> list[Any]:
    """The rows (or what is wrong with them) of messages with these values, after they were written and read again."""
    messages = [message(value, offset) for offset, value in enumerate(values)]
    count = topic.write([messages[:1], messages[1:]], operation, Store(str(folder)), folder / topic.MESSAGES)
    assert count == len(values)
    source = open_source("kafka://calls?group=g", operation, "line", folder, f"{folder}/")
    assert source.claims
    return [
        {**json.loads(row), **({"problem": problem} if problem else {})}
        for batch in source.rows
        for row, problem in zip(*batch.to_pydict().values(), strict=True)
    ]


def test_a_claim_becomes_a_row_with_its_place_for_an_id_and_its_own_id_beside(tmp_path: Path) -> None:
    value = {"version": 1, "id": "m", "inputs": {"text": "hi"}, "options": {"voice": "v", "speed": 1.5}}
    assert stored(tmp_path, value) == [{"id": "calls-1-0", "claim": "m", "text": "hi", "options": {"speed": 1.5, "voice": "v"}}]


def test_every_input_keeps_the_version_that_the_claim_gives(tmp_path: Path) -> None:
    inputs = {"text": "hi", "reference": {"uri": "/a.wav", "version": "sha256:ab"}}
    (row,) = stored(tmp_path, {"version": 1, "inputs": inputs}, operation=CLONE)
    assert row["reference"] == "/a.wav" and row["versions"] == {"reference": "sha256:ab"}


def test_inline_audio_is_stored_once_beside_the_messages_and_named_by_its_digest(tmp_path: Path) -> None:
    audio = b"RIFF and so on"
    digest = hashlib.sha256(audio).hexdigest()
    value = {"version": 1, "inputs": {"audio": {"data": base64.b64encode(audio).decode()}}}
    one, two = stored(tmp_path, value, value, operation=HEAR)
    assert one["audio"] == two["audio"] == f"{tmp_path}/inputs/{digest[:2]}/{digest}"
    assert one["versions"] == {"audio": f"sha256:{digest}"}
    assert Path(one["audio"]).read_bytes() == audio


def test_what_is_no_claim_is_a_row_that_says_why_and_keeps_its_place(tmp_path: Path) -> None:
    lone = b'{"version": 1, "inputs": {"text": "\\ud800"}}'
    rows = stored(tmp_path, b"\xff", None, {"version": 2, "inputs": {"text": "x"}}, {"version": 1, "inputs": {"txt": "x"}}, lone)
    assert [row["id"] for row in rows] == [f"calls-1-{offset}" for offset in range(5)]
    assert {row["refused"] for row in rows} == {"bad_message"}
    assert "near" not in rows[3] and "text" in rows[3]["problem"]


def test_messages_are_read_again_as_they_came(tmp_path: Path) -> None:
    values = [b"\x00\xff", None, b""]
    stored(tmp_path, *values)
    assert list(topic.messages(tmp_path / topic.MESSAGES, "calls")) == [message(value, offset) for offset, value in enumerate(values)]


def test_a_failure_of_ours_stands_for_the_message_that_failed(tmp_path: Path) -> None:
    claim = json.dumps({"version": 1, "inputs": {"text": "hi"}}).encode()
    (tmp_path / "long").write_bytes(claim)
    failed = {"version": 1, "status": "failed", "source": {}, "code": "engine_error", "detail": "", "id": "", "key": ""}
    here = {**failed, "original": base64.b64encode(claim).decode(), "original_uri": None}
    elsewhere = {**failed, "original": None, "original_uri": str(tmp_path / "long")}
    gone = {**failed, "original": None, "original_uri": str(tmp_path / "gone")}
    one, two, three = stored(tmp_path, here, elsewhere, gone)
    assert one["text"] == two["text"] == "hi"
    assert three["refused"] == "input_not_found"
    assert [one.value for one in topic.messages(tmp_path / topic.MESSAGES, "calls")][:2] == [claim, claim]


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://a/b?group=g", "kafka://a", "kafka://a?group=", "kafka://a?group=g&groupp=x", "kafka://a?failures=b"]
)
def test_a_url_that_is_no_topic_with_a_group_is_refused(url: str) -> None:
    with pytest.raises(WavemillError) as caught:
        Topic.parse(url, "source")
    assert (caught.value.code, caught.value.field) == ("bad_usage", "source")


def test_the_url_of_an_out_may_name_a_topic_for_failures() -> None:
    assert Topic.parse("kafka://a", "out") == Topic("a", failures="a")
    assert Topic.parse("kafka://a.b_c-D?failures=f", "out") == Topic("a.b_c-D", failures="f")


@given(st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1), st.integers(1, 100))
def test_a_limit_is_shared_by_all_partitions_and_none_of_it_is_left(given: Mapping[int, tuple[int, int]], most: int) -> None:
    spans = {number: Span(start, start + width) for number, (start, width) in given.items()}
    cut = topic.share(spans, most)
    taken = {number: span.end - span.start for number, span in cut.items()}
    width = {number: span.end - span.start for number, span in spans.items()}
    assert {number: span.start for number, span in cut.items()} == {number: span.start for number, span in spans.items()}
    assert sum(taken.values()) == min(most, sum(width.values()))
    assert all(taken[number] <= width[number] for number in spans)
    short = [taken[number] for number in spans if taken[number] < width[number]]
    assert not short or max(taken.values()) - min(short) <= 1


def test_without_a_limit_all_is_taken() -> None:
    assert topic.share({3: Span(1, 9)}, None) == {3: Span(1, 9)}


@given(st.builds(Mark, st.integers(0), st.integers(0), st.integers(0), st.text(), st.text(max_size=100)))
def test_what_stands_beside_an_offset_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.decode(mark.encode()) == mark


@pytest.mark.parametrize("metadata", [None, "", "x", "[]", '{"wavemill": 2, "out": "a"}', '{"wavemill": 1, "to": "x"}'])
def test_what_others_wrote_beside_an_offset_is_no_mark(metadata: str | None) -> None:
    assert Mark.decode(metadata) == Mark()
