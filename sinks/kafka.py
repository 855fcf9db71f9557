"""A topic as a sink: outcomes and the offsets they answer for, in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.errors import InvalidProducerEpochError, KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, ProducerFencedError

from transforms.errors import WavemillError

TRANSACTION_MS = 15_000
"""A dead worker's open transaction holds readers up for no longer than this and the broker's own period of looking for such ones.

A transaction begins when its outcomes are there, so it never waits for an engine."""
COMMIT_PATIENCE_S = TRANSACTION_MS / 1000 + 5
Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """One message to write. Without a `partition` its key chooses one; no value takes the key out of a compacted topic."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None


class Transactions:
    """A transactional producer. Two of one `name` exclude each other: the older is fenced. Raises KafkaError."""

    def __init__(self, client: Mapping[str, Any], name: str, wait_s: float, **options: Any) -> None:
        settings = {
            "transactional_id": name,
            "transaction_timeout_ms": TRANSACTION_MS,
            "acks": "all",
            "linger_ms": 0,
            "allow_auto_create_topics": False,
            "retry_backoff_ms": 5,
            "reconnect_backoff_max_ms": 2_000,
            "max_block_ms": round(wait_s * 1000),
        }
        self.name = name
        self.producer = KafkaProducer(**{**client, **settings, **options})
        try:
            self.producer.init_transactions()
        except BaseException:
            self.close()
            raise

    def commit(self, records: Sequence[Record], offsets: Mapping[TopicPartition, tuple[int, str]], membership: Any) -> list[int]:
        """Write all records and move the group to `offsets` (with their metadata), or do neither; the offset of each record.

        Raises `worker_fenced` when another worker took the name over, `broker_unavailable` when a topic does not take so long a message,
        and KafkaError when it is not known which of the two happened: then only a new `Transactions` of the same name, which ends what is open, and the group's offsets tell.
        """
        ended: Future[list[int]] = Future()

        def act() -> None:
            try:
                ended.set_result(self._commit(records, offsets, membership))
            except BaseException as error:
                ended.set_exception(error)

        # kafka-python waits without end for the answer to a transaction that the broker has given up meanwhile
        threading.Thread(target=act, name="transaction", daemon=True).start()
        try:
            return ended.result(COMMIT_PATIENCE_S)
        except TimeoutError as error:
            raise KafkaTimeoutError(f"no answer within {COMMIT_PATIENCE_S:g} s") from error
        except (ProducerFencedError, InvalidProducerEpochError) as error:
            raise WavemillError("worker_fenced", f"another worker has taken the name {self.name} over") from error

    def _commit(self, records: Sequence[Record], offsets: Mapping[TopicPartition, tuple[int, str]], membership: Any) -> list[int]:
        self.producer.begin_transaction()
        sent: list[Any] = []
        try:
            for one in records:
                sent.append(self.producer.send(one.topic, key=one.key, value=one.value, headers=list(one.headers), partition=one.partition))
                if sent[-1].failed():  # at once, so that the transaction knows nothing of it and would be committed without
                    raise sent[-1].exception
            self._move(offsets, membership)
        except MessageSizeTooLargeError as error:
            failed = [one for one, future in zip(records, sent, strict=False) if future.failed()]
            raise _too_long((failed or records[len(sent) :])[0]) from error
        return [future.value.offset for future in sent]

    def _move(self, offsets: Mapping[TopicPartition, tuple[int, str]], membership: Any) -> None:
        moved = {home: OffsetAndMetadata(offset, metadata, -1) for home, (offset, metadata) in offsets.items()}
        self.producer.send_offsets_to_transaction(moved, membership)
        self.producer.commit_transaction()

    def close(self) -> None:
        """At once: what is not committed is not."""
        with suppress(KafkaError):
            self.producer.close(timeout=0)


def _too_long(record: Record) -> WavemillError:
    size = len(record.key or b"") + len(record.value or b"")
    return WavemillError(
        "broker_unavailable",
        f"the topic {record.topic} does not take a message of {size} bytes; set its max.message.bytes to 1048588, Kafka's default, or more",
    )
