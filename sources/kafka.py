"""A topic as a source: messages of the partitions that the group gives this worker, and what the group remembers of each.

Kafka's own words are kept: topic, partition, offset, group, generation (https://kafka.apache.org/documentation/#consumerconfigs).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.structs import MemberState

Headers = tuple[tuple[str, bytes], ...]
SETTLE_S = 5.0
"""kafka-python 3.0.12 throws away an assignment that comes between two polls, and joins again, which makes all others join again:
so a poll goes on while the group shares its partitions out, for this long."""
UNSETTLED_MS = 1_000
FETCH_BYTES, PARTITION_BYTES = 16 << 20, 1 << 20
MOST_RECORDS = 1 << 30
"""kafka-python 3.0.12 takes a paused partition up again only if no fetch of it was given out in part: so each is, whole."""
AT_LETTERS = 500
"""Brokers take 4 kB of metadata."""
NEW_PARTITIONS_MS = 10_000
"""A topic is asked so often whether it has more partitions than before."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands in a topic."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def home(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)


class Mark(NamedTuple):
    """What stands beside a committed offset while messages from there to before `to` are worked, for the `tries`-th time.

    `state` is the offset in the state topic from which states may still count, where there is such a topic.
    `out` is the id of the OUT that the group drains into and `at` its URL: no other answers the group's messages.
    `job` is the Beam job that works the partition; a later one has a greater id.
    """

    to: int = 0
    tries: int = 0
    state: int = 0
    out: str = ""
    at: str = ""
    job: str = ""

    def encode(self) -> str:
        told = {name: value for name, value in self._replace(at=self.at[:AT_LETTERS])._asdict().items() if value}
        return json.dumps({"wavemill": 1, **told}) if told else ""

    @staticmethod
    def decode(metadata: str | None) -> Mark:
        """The mark in a committed offset's metadata; none in what others wrote there."""
        try:
            found = json.loads(metadata or "{}")
            if found.get("wavemill") != 1:
                return Mark()
            to, tries, state = (int(found.get(name, 0)) for name in ("to", "tries", "state"))
            return Mark(to, tries, state, *(str(found.get(name, "")) for name in ("out", "at", "job")))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Mark()


class Committed(NamedTuple):
    """Where the group stands in a partition; `offset` is None before the first commit."""

    offset: int | None
    mark: Mark


class TopicReader(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of a group on one topic, reading committed messages only. Its own thread keeps the membership alive.

    Partitions stay with their worker over a rebalance (cooperative sticky assignment, KIP-429).
    """

    def __init__(self, client: Mapping[str, Any], topic: str, group: str, **options: Any) -> None:
        self.topic = topic
        self._gone: set[TopicPartition] = set()
        self._lock = threading.Lock()
        settings = {
            "group_id": group,
            "isolation_level": "read_committed",
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "allow_auto_create_topics": False,
            "partition_assignment_strategy": (CooperativeStickyAssignor,),
            "max_poll_records": MOST_RECORDS,
            "fetch_max_bytes": FETCH_BYTES,
            "max_partition_fetch_bytes": PARTITION_BYTES,
            "metadata_max_age_ms": NEW_PARTITIONS_MS,
            "retry_backoff_ms": 20,
            "reconnect_backoff_max_ms": 2_000,
        }
        self.consumer = KafkaConsumer(**{**client, **settings, **options})

    def subscribe(self) -> None:
        self.consumer.subscribe([self.topic], listener=self)

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        with self._lock:
            self._gone.update(revoked)

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """What is known of a partition is read when its first message comes: not here, in the thread of the heartbeat."""

    def poll(self, wait_s: float) -> list[Message]:
        """New messages, after at most `wait_s`, or `SETTLE_S` while the group shares its partitions out anew."""
        deadline_s = time.monotonic() + SETTLE_S
        found = self.consumer.poll(timeout_ms=round(wait_s * 1000))
        # it may have been this poll that found the group unsettled, and what it asked for is on its way
        while not found and self.consumer.subscription() and self._unsettled and time.monotonic() < deadline_s:
            # of a round that news of the topic began, kafka-python 3.0.12 forgets the outcome for good: once shared out it is no news
            self.consumer._coordinator.request_rejoin()
            found = self.consumer.poll(timeout_ms=UNSETTLED_MS)
        return [
            Message(
                one.topic, one.partition, one.offset, one.key, one.value, tuple((name, bytes(data or b"")) for name, data in one.headers)
            )
            for records in found.values()
            for one in records
        ]

    @property
    def _unsettled(self) -> bool:
        return bool(self.membership().state != MemberState.STABLE)

    def take_gone(self) -> set[TopicPartition]:
        """Partitions that were taken from this worker since the last call, also where they came back."""
        with self._lock:
            gone, self._gone = self._gone, set()
        return gone

    def owned(self) -> set[TopicPartition]:
        return set(self.consumer.assignment() or ())

    def membership(self) -> Any:
        """The group, generation and member id by which the broker knows a zombie (KIP-447)."""
        return self.consumer.group_metadata()

    def committed(self, partition: TopicPartition, wait_s: float = 30.0) -> Committed:
        """Waits for a transaction of another worker that is under way. Raises KafkaError."""
        found = self.consumer.committed(partition, metadata=True, timeout_ms=round(wait_s * 1000))
        return Committed(found.offset, Mark.decode(found.metadata)) if found and found.offset >= 0 else Committed(None, Mark())

    def beginning(self, partition: TopicPartition) -> int:
        """The first offset that is still there. Raises KafkaError."""
        return int(self.consumer.beginning_offsets([partition])[partition])

    def end(self, partition: TopicPartition) -> int:
        """The offset before which all is committed or aborted. Raises KafkaError."""
        return int(self.consumer.end_offsets([partition])[partition])

    def home(self, number: int) -> TopicPartition:
        return TopicPartition(self.topic, number)

    def numbers(self) -> list[int]:
        """The topic's partitions."""
        return sorted(self.consumer.partitions_for_topic(self.topic) or ())

    def take(self, partition: TopicPartition, offset: int) -> None:
        """Read this partition and no other, from `offset`, as no member of the group."""
        self.consumer.assign([partition])
        self.consumer.seek(partition, offset)

    def position(self, partition: TopicPartition) -> int:
        """The offset of what `poll` gives next. Raises KafkaError."""
        return int(self.consumer.position(partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.consumer.seek(partition, offset)

    def caught_up(self, partition: TopicPartition, offset: int) -> bool:
        """Whether nothing stands in the partition at or behind `offset`, as far as was fetched."""
        end = self.consumer.highwater(partition) if partition in self.owned() else None
        return end is not None and end <= offset

    def partitions(self, topic: str) -> int:
        """How many the topic has."""
        return len(self.consumer.partitions_for_topic(topic))

    def flow(self, full: set[TopicPartition]) -> None:
        """Fetch nothing more of the partitions in `full`, and go on with the others."""
        paused, owned = set(self.consumer.paused()), self.owned()
        if stop := (full & owned) - paused:
            self.consumer.pause(*stop)
        if go := (paused & owned) - full:
            self.consumer.resume(*go)

    def lag(self, heads: Mapping[TopicPartition, int]) -> dict[int, int]:
        """Partition -> messages behind its end, where that is known."""
        owned = self.owned()
        ends = {home: self.consumer.highwater(home) for home in heads if home in owned}
        return {home.partition: max(0, end - heads[home]) for home, end in ends.items() if end is not None}

    def close(self) -> None:
        self.consumer.close(autocommit=False, timeout_ms=5_000)


class StateReader:
    """What a compacted topic holds: the last value of each key, of one partition at a time."""

    def __init__(self, client: Mapping[str, Any], topic: str, **options: Any) -> None:
        self.topic = topic
        settings = {
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "max_partition_fetch_bytes": FETCH_BYTES,
        }
        with ExitStack() as opened:
            make = partial(KafkaConsumer, **{**client, **settings, **options})
            self.consumer = make(isolation_level="read_committed")
            opened.callback(self.consumer.close)
            self.ends = make(isolation_level="read_uncommitted")
            opened.pop_all()

    def read(self, partition: int, start: int, wait_s: float) -> dict[bytes, tuple[int, bytes]] | None:
        """Key -> (offset, value) of what stands from `start` to the end of now; None where an open transaction stood before it too long.

        The end counts what is not committed yet: the caller knows that the group's offsets are, and the states that were written with
        them may not be visible at once. Raises KafkaError.
        """
        home = TopicPartition(self.topic, partition)
        self.ends.assign([home])
        end = int(self.ends.end_offsets([home])[home])
        self.consumer.assign([home])
        self.consumer.seek(home, max(start, int(self.consumer.beginning_offsets([home])[home])))
        found: dict[bytes, tuple[int, bytes]] = {}
        deadline_s = time.monotonic() + wait_s
        while self.consumer.position(home) < end:
            if time.monotonic() > deadline_s:
                return None
            for records in self.consumer.poll(timeout_ms=200).values():
                for record in records:
                    if record.value is None:
                        found.pop(record.key, None)
                    else:
                        found[record.key] = (record.offset, record.value)
        return found

    def close(self) -> None:
        self.consumer.close()
        self.ends.close()
