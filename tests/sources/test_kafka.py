"""What a group's members have of each other, against a real Kafka."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from benchmarks.topics import Stream
from sources.kafka import TopicReader


@pytest.mark.slow
def test_a_member_that_joins_costs_about_two_rounds_also_where_others_are_slow_between_their_polls(
    kafka_server: str, tmp_path: Path
) -> None:
    stream = Stream(kafka_server, f"group{os.getpid()}", tmp_path)
    options = {"session_timeout_ms": 10_000, "heartbeat_interval_ms": 200}
    readers = [TopicReader({"bootstrap_servers": [kafka_server]}, stream.input, stream.group, **options) for _ in range(2)]
    done = threading.Event()

    def turn(reader: TopicReader) -> None:
        reader.subscribe()
        while not done.is_set():
            reader.poll(0.02)
            done.wait(0.3)  # as long as a busy worker takes
        reader.close()

    threads = [threading.Thread(target=turn, args=(reader,)) for reader in readers]
    deadline_s = time.monotonic() + 60
    for thread, shares in zip(threads, ([4, 0], [2, 2]), strict=True):
        thread.start()
        while [len(reader.owned()) for reader in readers] != shares:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
    generations = [reader.membership().generation_id for reader in readers]
    done.set()
    for thread in threads:
        thread.join()
    assert generations[0] == generations[1] <= 5, "a heartbeat that comes late on a busy machine may cost a round, not ten"


@pytest.mark.slow
def test_a_share_that_comes_between_two_polls_is_taken_up_also_where_news_of_the_topic_began_the_round(
    kafka_server: str, tmp_path: Path
) -> None:
    stream = Stream(kafka_server, f"between{os.getpid()}", tmp_path)
    reader = TopicReader({"bootstrap_servers": [kafka_server]}, stream.input, stream.group)
    coordinator = reader.consumer._coordinator
    join, rounds = coordinator._do_join_and_sync_async, list[bytes]()

    async def slow() -> bytes:
        share: bytes = await join()
        rounds.append(share)
        await coordinator._net.sleep(1.2)
        return share

    coordinator._do_join_and_sync_async = slow
    reader.subscribe()
    deadline_s = time.monotonic() + 20
    while len(reader.owned()) < 4 and time.monotonic() < deadline_s:
        reader.poll(0.02)
    assert (len(reader.owned()), len(rounds)) == (4, 2), "the first knows nothing of the topic, the second does"
    reader.close()
