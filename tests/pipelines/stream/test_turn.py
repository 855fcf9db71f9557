"""Turns at a partition, against a real Kafka: whoever is given the same messages, one answers them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.topics import Stream, claim, doubled
from pipelines.stream.desk import Desk
from pipelines.stream.spec import StreamSpec
from pipelines.stream.turn import Superseded, Turn, dismiss
from sources.kafka import Mark, TopicReader
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess, Settings


@pytest.fixture
def one(kafka_server: str, tmp_path: Path, request: pytest.FixtureRequest) -> Stream:
    return Stream(kafka_server, f"turn{os.getpid()}-{abs(hash(request.node.nodeid)) % 10**8}", tmp_path, partitions=1)


@pytest.fixture
def desk(one: Stream, tmp_path: Path) -> Iterator[Desk]:
    options = {"format": "wav", "piece_s": 0.05, "crash_on": "poison"}
    spec = StreamSpec("synthesize", "echo", options, one.input, one.output, one.failures, one.group, str(tmp_path / "out"), max_poll=5)
    made = Desk(spec, Settings(), threading.Event())
    yield made
    made.close()


def access(one: Stream) -> KafkaAccess:
    return KafkaAccess(brokers=one.servers)


def take(offset: int) -> bool:
    return True


def test_of_two_turns_at_the_same_messages_the_later_one_answers_them(one: Stream, desk: Desk) -> None:
    one.send([claim(f"line {index}", str(index)) for index in range(12)])

    def meanwhile(offset: int) -> bool:
        with Turn(desk, access(one), 0, "1") as later:
            assert later.work(take)
        return True

    with Turn(desk, access(one), 0, "1") as zombie, pytest.raises(WavemillError) as raised:
        zombie.work(meanwhile)
    assert raised.value.code == "worker_fenced"
    with Turn(desk, access(one), 0, "1") as again:
        assert again.partition.head == 12
        assert again.work(take)
    replies = one.replies(12, patience_s=20)
    assert sorted(int(reply["id"]) for reply in replies) == list(range(12))
    assert doubled(replies) == []


def test_an_offset_that_is_refused_is_left_to_others(one: Stream, desk: Desk) -> None:
    one.send([claim(f"line {index}", str(index)) for index in range(12)])
    with Turn(desk, access(one), 0, "1") as turn:
        assert not turn.work(lambda offset: offset < 5)
    found = one.committed()[0]
    assert found.offset == 5 and Mark.decode(found.metadata) == Mark(job="1")
    assert len(one.replies(5, patience_s=20)) == 5


def test_a_later_job_takes_over_and_the_earlier_one_is_told(one: Stream, desk: Desk) -> None:
    with Turn(desk, access(one), 0, "2") as turn:
        turn.work(take)
    with pytest.raises(Superseded):
        Turn(desk, access(one), 0, "1")
    reader = TopicReader({"bootstrap_servers": [one.servers]}, one.input, one.group)
    dismiss(desk.spec, access(one), reader, 0, "3")
    reader.close()
    with pytest.raises(Superseded):
        Turn(desk, access(one), 0, "2")


def test_a_message_that_killed_three_turns_is_worked_apart(one: Stream, desk: Desk) -> None:
    one.send([claim("line", "0"), claim("poison", "1")])

    def dies(batch: object, alone: bool) -> None:
        raise KeyboardInterrupt  # nothing after it is done

    for _ in range(3):
        with Turn(desk, access(one), 0, "1") as turn:
            turn._answer = dies  # type: ignore[method-assign]
            with pytest.raises(KeyboardInterrupt):
                turn.work(take)
    with Turn(desk, access(one), 0, "1") as turn:
        assert turn.partition.suspect
        turn.work(take)
    found = {reply["id"]: reply.get("code") for reply in one.replies(2, patience_s=20)}
    assert found == {"0": None, "1": "engine_crashed"}
