"""Short forms of the proofs of `make prove-delivery`, by the same code, and what counts in them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")
pytest.importorskip("confluent_kafka", reason="it counts in the proofs, and is of the extra dev")

import confluent_kafka

from benchmarks import (
    delivery,
    delivery_broker,
    delivery_drain,
    delivery_long_job,
    delivery_memory,
    delivery_messages,
    delivery_overhead,
    delivery_partitions,
    delivery_scaling,
    delivery_transcriptions,
)
from benchmarks.measure import ROOT
from benchmarks.sessions import LiveStream
from benchmarks.topics import Broker, Stream, claim
from benchmarks.witness import Outcome, Witness, exact
from pipelines.dev import process
from transforms.errors import WavemillError

LONG = pytest.mark.timeout(900)


@pytest.fixture
def new(whole_kafka: str, tmp_path: Path) -> Iterator[Callable[..., Stream]]:
    """Makes a `Stream` of its own; what a failing test leaves running ends with it."""
    made: list[Stream] = []

    def make(partitions: int = 4, kind: type[Stream] = Stream, servers: str = whole_kafka) -> Stream:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(kind(servers, f"p-{abs(hash(folder)) % 10**10}", folder, partitions=partitions))
        return made[-1]

    yield make
    for stream in made:
        for worker in stream.workers:
            if worker.poll() is None:
                stream.kill(worker)


def reply(offset: int, id: str, code: str = "") -> bytes:
    return json.dumps({"id": id, "code": code, "source": {"topic": "x", "partition": 0, "offset": offset}}).encode()


def test_the_account_tells_what_is_right_missing_doubled_wrong_and_ahead(new: Callable[..., Stream]) -> None:
    stream = new(partitions=1)
    places = stream.send([claim("x", str(index)) for index in range(4)])
    expected = {place: Outcome(str(index), "") for index, place in enumerate(places)}
    producer = confluent_kafka.Producer({"bootstrap.servers": stream.servers})
    producer.produce(stream.output, reply(0, "0"))
    producer.produce(stream.output, reply(1, "1"))
    producer.produce(stream.failures, reply(1, "1"))
    producer.produce(stream.output, reply(3, "another"))
    producer.flush()
    witness = Witness(stream)
    group = confluent_kafka.Consumer({"bootstrap.servers": stream.servers, "group.id": stream.group})

    def move(offset: int) -> None:
        group.commit(offsets=[confluent_kafka.TopicPartition(stream.input, 0, offset)], asynchronous=False)

    move(2)
    witness.sample()
    assert witness.ahead == []
    move(4)
    account = witness.account(expected)
    told = ("without an outcome", "with two")
    assert [account[f"messages {name}"] for name in told] == [1, 1]
    assert (account["outcomes other than they should be"], account["offsets ahead of outcomes"]) == (1, 1)
    assert not exact(account)
    producer.produce(stream.output, reply(2, "2"))
    producer.flush()
    witness.ahead.clear()
    witness.outcomes[0, 1].pop()
    witness.outcomes[0, 3] = [Outcome("3", "")]
    assert exact(witness.account(expected))
    group.close()
    witness.close()


@pytest.mark.slow
@LONG
def test_messages_of_workers_that_are_killed_join_and_leave_have_one_outcome_each(new: Callable[..., Stream]) -> None:
    chance = random.Random(5)
    sent = delivery_messages.cheap(300, 1, chance, 0.03)
    flags = ("--max-poll", "16", "--workers", "1")
    account, _ = delivery_messages.prove(new(), sent, 3, 1, chance, *flags)
    assert exact(account), account
    assert (account["messages"], account["failures"]) == (300, 6)
    assert (account["workers that joined"], account["workers that left"]) == (1, 1)
    assert account["workers that a message killed"] in (2, 3), "one death may be that of a worker that was just being killed"
    assert set(str(account["exit codes of workers that were told to stop"]).split()) <= {"0"}


@pytest.mark.slow
@LONG
def test_real_transcriptions_of_workers_that_are_killed_have_one_outcome_each(new: Callable[..., Stream]) -> None:
    account, wrong = delivery_transcriptions.heard(new(), 40, delivery_transcriptions.texts(4), 2, 1, random.Random(11))
    assert exact(account), account
    assert (account["results"], account["failures"], account["workers killed"]) == (39, 1, 2)
    assert wrong <= delivery_transcriptions.MOST_WRONG


@pytest.mark.slow
@LONG
def test_a_broker_that_is_killed_and_started_again_on_its_log_loses_and_doubles_nothing(tmp_path: Path, new: Callable[..., Stream]) -> None:
    (tmp_path / "kafka").mkdir()
    try:
        broker = Broker(tmp_path / "kafka")
    except WavemillError as error:
        pytest.skip(f"no broker of our own: {error}")
    try:
        account = delivery_broker.prove(broker, new(servers=broker.servers), 200, 1, random.Random(1), 0.03)
        assert exact(account), account
        assert account["workers that lived through it"] == "2 of 2"
    finally:
        process.stop(broker.running, patience_s=0)


@pytest.mark.slow
@LONG
def test_partitions_that_are_added_while_workers_run_are_found_and_answered(new: Callable[..., Stream]) -> None:
    account, _ = delivery_partitions.prove(new(partitions=2), 2, 4, 10)
    assert exact(account), account
    assert account["messages"] == 2 * 10 + 4 * 10
    assert account["partitions of each worker at the end"] == "2 2"


@pytest.mark.slow
@LONG
def test_two_workers_over_an_engine_that_waits_do_more_than_one(new: Callable[..., Stream]) -> None:
    one, two = (delivery_scaling.rate(new(partitions=delivery_scaling.PARTITIONS), workers, 16, 0.5) for workers in (1, 2))
    assert two > 1.2 * one, "by far less than on a machine of its own"


@pytest.mark.slow
@pytest.mark.parametrize("to_topic", [False, True], ids=["folder", "topic"])
@LONG
def test_drains_that_are_killed_give_each_message_one_outcome_and_move_the_group_with_outcomes(
    new: Callable[..., Stream], to_topic: bool
) -> None:
    account = delivery_drain.prove(new(partitions=3), to_topic, 200, 80, 3, random.Random(7 + to_topic), 0.02)
    assert exact(account), account
    assert (account["messages"], account["runs that were killed"]) == (200, 3)


@pytest.mark.slow
@LONG
def test_a_job_of_three_times_the_poll_interval_runs_once_beside_a_second_worker(new: Callable[..., Stream]) -> None:
    account = delivery_long_job.prove(new())
    assert delivery_long_job.once(account), account


@pytest.mark.slow
def test_what_a_message_costs_is_measured_in_turn_with_direct_calls(new: Callable[..., Stream]) -> None:
    ((streamed_ms, alone_ms),) = delivery_overhead.compare(new(), 1, 64)
    assert 0 < alone_ms < streamed_ms


@pytest.mark.slow
@LONG
def test_memory_is_followed_to_the_last_message(new: Callable[..., Stream]) -> None:
    for series in (delivery_memory.ordinary(new(), 20), delivery_memory.live(new(kind=LiveStream), 60)):
        assert series[-1][0] == 1.0
        assert 50 < max(mb for _, mb in series) < 2000


def test_growth_is_told_by_its_ends_and_by_a_line_through_all_after_warming_up() -> None:
    shares = np.linspace(0, 1, 200)
    flat: list[tuple[float, float]] = [(share, 900 * (share < 0.1) + 100) for share in shares]
    begin, end, slope, most = delivery_memory.grown(flat)
    assert (begin, end, most) == (100, 100, 1000) and abs(slope) < 1e-6
    begin, end, slope, _ = delivery_memory.grown([(share, 100 + 50 * share) for share in shares])
    assert abs(slope - 40) < 0.1 and end - begin > 30


def test_every_proof_of_the_document_has_a_name_and_make_has_the_target(capsys: Any) -> None:
    titles = re.findall(r"^## (Measured: .+)$", delivery.PAGE.read_text(), re.MULTILINE)
    assert set(titles) <= {section.title for section in delivery.SECTIONS.values()}
    assert delivery.PAGE.read_text().count(delivery.MEASURED) == 1
    assert re.search(r"^prove-delivery: .*## \w+", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert delivery.main(["no-such"]) == 2
    assert "no-such" in capsys.readouterr().err
