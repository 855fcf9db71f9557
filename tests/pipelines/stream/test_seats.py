"""What a live worker holds of a partition: a mark covers all that is worked, and deaths count until they are outlived."""

from __future__ import annotations

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from kafka import TopicPartition

from pipelines.stream.seats import LEASE, LivePartition, Seat
from sources.kafka import Mark, Message
from transforms.live import Session


def partition(head: int = 10, deaths: Mark = Mark(), lease: int = 0, queued: tuple[int, ...] = ()) -> LivePartition:  # noqa: B008
    made = LivePartition(TopicPartition("in", 0), head, head, 3, deaths, {"one": Seat("one", Session(), 0.0)}, lease)
    made.queue.extend(Message("in", 0, offset, None, b"x", ()) for offset in queued)
    return made


def test_nothing_is_worked_that_no_mark_covers() -> None:
    assert partition().starved, "nothing is marked yet"
    assert not partition(lease=20, queued=(10,)).starved
    behind_a_gap = partition(lease=20, queued=(5_000,))
    assert behind_a_gap.starved
    assert behind_a_gap.mark(last=False) == Mark(5_000 + LEASE, 1, 3)


@pytest.mark.parametrize(("deaths", "suspect"), [(Mark(), False), (Mark(400, 1), False), (Mark(400, 2), False), (Mark(400, 3), True)])
def test_a_mark_counts_one_death_more_than_was_found_and_an_orderly_end_takes_it_back(deaths: Mark, suspect: bool) -> None:
    held = partition(deaths=deaths)
    assert held.suspect == suspect
    assert held.mark(last=False) == Mark(max(10 + LEASE, deaths.to), deaths.tries + 1, 3)
    assert held.mark(last=True) == deaths._replace(state=3)


def test_deaths_are_outlived_once_all_sessions_of_their_time_were_heard() -> None:
    held = partition(deaths=Mark(12, 3), lease=300)
    held.outlive()
    assert held.suspect, "chunks are still to come"
    held.next_offset = 12
    held.seats["two"] = Seat("two", Session(), 0.0, looked=True)
    held.outlive()
    assert held.suspect, "one is not heard yet"
    held.seats["one"].looked = True
    held.seats["three"] = Seat("three", Session(), 0.0)
    held.outlive()
    assert not held.suspect and held.mark(last=False).tries == 1
