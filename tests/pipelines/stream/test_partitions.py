"""What a worker holds: offsets move over finished prefixes only, marks count deaths, batches are shared out."""

from __future__ import annotations

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from hypothesis import given, strategies as st
from kafka import TopicPartition

from pipelines.stream.desk import Answer
from pipelines.stream.partitions import Entry, Partition, choose
from sources.kafka import Mark, Message

DONE = Answer(None)


def partition(number: int = 0, count: int = 0, head: int = 0, deaths: Mark = Mark(), length_s: float = 1.0) -> Partition:  # noqa: B008
    made = Partition(TopicPartition("in", number), head, deaths, deaths)
    for offset in range(head, head + count):
        made.admit(Entry(Message("in", number, offset, None, b"x", ()), length_s))
    return made


@given(st.lists(st.booleans(), max_size=30))
def test_an_offset_moves_over_answered_messages_up_to_the_first_that_is_not(answered: list[bool]) -> None:
    held = partition(count=len(answered), head=5)
    for entry, done in zip(held.entries, answered, strict=True):
        entry.answer = DONE if done else None
    done, offset = held.finished()
    prefix = answered.index(False) if False in answered else len(answered)
    assert (len(done), offset) == (prefix, 5 + prefix)
    held.advance(offset, Mark())
    assert [entry.message.offset for entry in held.entries] == list(range(offset, 5 + len(answered)))
    assert (held.length_s, held.bytes) == (len(held.entries), len(held.entries))


def test_a_batch_is_shared_out_over_partitions_and_bounded_by_messages_and_seconds() -> None:
    busy, calm = partition(0, 10), partition(1, 2)
    batch, apart = choose([busy, calm], 0.0, 6, 100.0)
    assert not apart
    assert [entry.message.partition for entry in batch].count(1) == 2 and len(batch) == 6
    assert len(choose([busy, calm], 0.0, 6, 3.0)[0]) == 3
    assert len(choose([partition(0, 2, length_s=500.0)], 0.0, 6, 3.0)[0]) == 1, "an item longer than a batch goes alone"


def test_a_partition_that_is_put_off_waits_longer_each_time_and_holds_nobody_up() -> None:
    late, other = partition(0, 3), partition(1, 1)
    assert [late.put_off(0.0) for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert {entry.message.partition for entry in choose([late, other], 59.0, 9, 99.0)[0]} == {1}
    assert {entry.message.partition for entry in choose([late, other], 61.0, 9, 99.0)[0]} == {0, 1}
    late.advance(1, Mark())
    assert late.put_off(0.0) == 1.0, "what moves has nothing to wait for"


def test_a_mark_counts_the_workers_that_ended_over_the_same_messages() -> None:
    fresh = partition(count=4, head=10)
    mark = fresh.marked(list(fresh.entries)[:3], 10)
    assert mark == Mark(13, 1)
    for tries in (2, 3, 4):
        after = partition(count=4, head=10, deaths=Mark.decode(mark.encode()))
        assert after.suspect == (tries > 3)
        mark = after.marked(list(after.entries)[:2], 10)
        assert mark == Mark(13, tries)


def test_messages_that_killed_three_workers_are_worked_apart_and_those_behind_them_are_not() -> None:
    suspect, other = partition(0, 5, head=10, deaths=Mark(13, 3)), partition(1, 5)
    batch, apart = choose([other, suspect], 0.0, 64, 600.0)
    assert apart and [(entry.message.partition, entry.message.offset) for entry in batch] == [(0, 10), (0, 11), (0, 12)]
    for entry in batch:
        entry.answer = DONE
    assert suspect.marked([], suspect.finished()[1]) == Mark()
    suspect.advance(13, Mark())
    assert not suspect.suspect and not choose([other, suspect], 0.0, 64, 600.0)[1]


def test_an_orderly_end_leaves_the_deaths_that_were_counted_before_and_no_more() -> None:
    held = partition(count=4, head=10, deaths=Mark(13, 2))
    held.advance(10, held.marked(list(held.entries), 10))
    assert held.marked([], 10) == Mark(13, 2)


@pytest.mark.parametrize("metadata", [None, "", "{", "[]", "7", '{"wavemill": 2}', '{"wavemill": 1, "to": null, "tries": 1}'])
def test_what_others_wrote_beside_an_offset_is_no_mark(metadata: str | None) -> None:
    assert Mark.decode(metadata) == Mark()
