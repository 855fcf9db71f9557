"""What stands in a stream's topics, by an implementation of Kafka's client that shares nothing with ours (librdkafka)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks.topics import Place, Stream

READ_S, STUCK_S = 60.0, 180.0


class Outcome(NamedTuple):
    """One outcome of a message: `code` is empty for a result, `at_s` is when it was written."""

    id: str
    code: str
    text: str = ""
    at_s: float = 0.0


class Witness:
    """Counts the committed outcomes of each message, and looks whether a group's offsets run ahead of them."""

    def __init__(self, stream: Stream) -> None:
        self.input, self.group, self.outputs = stream.input, stream.group, (stream.output, stream.failures)
        self.outcomes: dict[Place, list[Outcome]] = {}
        self.samples = 0
        self.ahead: list[tuple[int, int]] = []
        """Offsets of the group, with their partition, behind which a message had no outcome."""
        self._prefix: dict[int, int] = {}
        self._positions: dict[tuple[str, int], int] = {}
        client = {"bootstrap.servers": stream.servers, "log_level": 0}  # brokers that are killed here are no news
        self._admin = AdminClient(client)
        reading = {"isolation.level": "read_committed", "auto.offset.reset": "earliest", "enable.auto.commit": False}
        self._consumer = Consumer({**client, **reading, "group.id": f"{self.group}-witness", "enable.partition.eof": True})
        # never a member of the group; an AdminClient's request for its offsets may end in a segmentation fault (librdkafka 2.16.0)
        self._group = Consumer({**client, **reading, "group.id": self.group})
        self._consumer.assign([TopicPartition(topic, number, 0) for topic in self.outputs for number in self.partitions(topic)])

    def partitions(self, topic: str) -> list[int]:
        return sorted(self._admin.list_topics(topic, timeout=READ_S).topics[topic].partitions)

    def ends(self, topic: str) -> dict[int, int]:
        """Partition -> the offset behind all that is written, also by transactions that are open."""
        asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in self.partitions(topic)}
        found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=10)
        return {home.partition: future.result().offset for home, future in found.items()}

    def group_offsets(self) -> dict[int, int]:
        """Partition -> where the group stands, where it stands anywhere."""
        found = self._group.committed([TopicPartition(self.input, number) for number in self.partitions(self.input)], timeout=10)
        return {one.partition: one.offset for one in found if one.offset >= 0}

    def members(self) -> dict[str, int]:
        """Member -> how many partitions it has, once the group is stable; else nothing."""
        (future,) = self._admin.describe_consumer_groups([self.group], request_timeout=10).values()
        try:
            found = future.result()
        except KafkaException:  # there is none yet
            return {}
        if found.state.name != "STABLE":
            return {}
        return {one.member_id: len(one.assignment.topic_partitions) for one in found.members}

    def read(self) -> None:
        """All outcomes that are written now. Those of open transactions are waited for: they count, or never will."""
        wanted = {(topic, number): end for topic in self.outputs for number, end in self.ends(topic).items()}
        deadline_s = time.monotonic() + READ_S
        while any(self._positions.get(home, 0) < end for home, end in wanted.items()):
            if time.monotonic() > deadline_s:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{self.outputs} were not read to their end"))
            for message in self._consumer.consume(1000, 0.1):
                error = message.error()
                home = (message.topic(), message.partition())
                if error is None:
                    self._positions[home] = message.offset() + 1
                    told = json.loads(message.value())
                    self.count(told["source"], told, message.timestamp()[1] / 1000)
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._positions[home] = message.offset()

    def count(self, source: Mapping[str, Any], told: Mapping[str, Any], at_s: float = 0.0) -> None:
        text = str((told.get("fields") or {}).get("text", ""))
        place = (int(source["partition"]), int(source["offset"]))
        self.outcomes.setdefault(place, []).append(Outcome(told["id"], told.get("code") or "", text, at_s))

    def sample(self) -> None:
        """Look where the group stands, then at the outcomes: all before must have one."""
        stands = self.group_offsets()
        self.read()
        for number, offset in stands.items():
            done = self._prefix.get(number, 0)
            while (number, done) in self.outcomes:
                done += 1
            self._prefix[number] = done
            if offset > done:
                self.ahead.append((number, offset))
        self.samples += 1

    @contextmanager
    def watching(self, every_s: float = 0.3) -> Iterator[None]:
        """Sample again and again meanwhile, but for brokers that are away."""
        done = threading.Event()

        def watch() -> None:
            while not done.wait(every_s):
                with suppress(KafkaException):
                    self.sample()

        with ThreadPoolExecutor(1, "witness") as pool:
            watched = pool.submit(watch)
            try:
                yield
            finally:
                done.set()
            watched.result()

    def wait_for_all(self, count: int, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Until `count` messages have an outcome, or no other got one for `STUCK_S`; for who is `watching`."""
        answered, changed_s = -1, time.monotonic()
        while len(self.outcomes) < count and time.monotonic() < changed_s + STUCK_S:
            meanwhile()
            if len(self.outcomes) > answered:
                answered, changed_s = len(self.outcomes), time.monotonic()
            time.sleep(0.1)

    def account(self, expected: Mapping[Place, Outcome] | None = None) -> dict[str, object]:
        """The counts at the end, when nothing runs any more. `expected` are ids and codes that each message's outcome must have."""
        self.sample()
        ends = self.ends(self.input)
        wanted = {(number, offset) for number, end in ends.items() for offset in range(end)}
        all_of = [one for found in self.outcomes.values() for one in found]
        other = [place for place, found in self.outcomes.items() if expected and (found[0].id, found[0].code) != expected[place][:2]]
        return {
            "messages": len(wanted),
            "results": sum(not one.code for one in all_of),
            "failures": sum(bool(one.code) for one in all_of),
            "messages without an outcome": len(wanted - self.outcomes.keys()),
            "messages with two": sum(len(found) > 1 for found in self.outcomes.values()) + len(self.outcomes.keys() - wanted),
            **({"outcomes other than they should be": len(other)} if expected else {}),
            "looks at the group's offsets": self.samples,
            "offsets ahead of outcomes": len(self.ahead),
            "partitions not at their end": sum(self.group_offsets().get(number, 0) != end for number, end in ends.items()),
        }

    def close(self) -> None:
        self._consumer.close()
        self._group.close()


def exact(account: Mapping[str, object]) -> bool:
    """Whether every message has one outcome, the right one, and offsets never ran ahead."""
    wrong = (
        "messages without an outcome",
        "messages with two",
        "outcomes other than they should be",
        "offsets ahead of outcomes",
        "partitions not at their end",
    )
    return all(account.get(name, 0) == 0 for name in wrong) and bool(account["messages"])
