"""How a worker reaches its brokers: patiently while they are away, not at all where they refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka.errors import AuthorizationError, FencedInstanceIdError, KafkaError, KafkaTimeoutError

from pipelines.stream.spec import StreamSpec
from pipelines.stream.watch import Watch
from pipelines.supervised import Control
from sinks.kafka import TRANSACTION_MS, Record, Transactions
from sources.access import Rights
from sources.kafka import Message, StateReader, TopicReader
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess

BROKER_WAIT_S = 5.0
"""How long one attempt to reach a broker may take."""
LONGEST_BACKOFF_S = 10.0
TOPIC_WAIT_S = 10.0
"""How long a topic that is not there is waited for: whoever starts a worker may make its topics at the same time."""
TICK_S = 0.05
T = TypeVar("T")


class Brokers:
    """Opens what a worker of `spec` reads and writes by."""

    def __init__(self, spec: StreamSpec, access: KafkaAccess, control: Control, watch: Watch, say: Callable[[str], None]) -> None:
        self.spec, self.access, self.control, self.watch, self.say = spec, access, control, watch, say
        reads, writes = (spec.input, spec.state), (spec.output, spec.failures, spec.state)
        self.rights = Rights(access, [*filter(None, reads)], [*filter(None, writes)], spec.group, spec.transactional_id)

    def patiently(self, act: Callable[[], T]) -> T | None:
        """What `act` gives once brokers answer, or None when told to stop. Raises `broker_unavailable` where they refuse."""
        wait_s = 0.5
        while self.control.reason is None:
            try:
                with self.rights.telling(BROKER_WAIT_S):
                    return act()
            except (KafkaError, OSError) as error:
                self.watch.state = "waiting for brokers"
                self.say(f"waiting for {self.access.brokers}: {type(error).__name__}: {error}")
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_BACKOFF_S)
        return None

    def open_reader(self) -> TopicReader:
        """Raises `bad_usage` for a topic that does not come within `TOPIC_WAIT_S`, and KafkaError."""
        self._await_topics()
        reader = TopicReader(
            self.access.client(),
            self.spec.input,
            self.spec.group,
            bootstrap_timeout_ms=round(BROKER_WAIT_S * 1000),
            session_timeout_ms=round(self.access.session_s * 1000),
            heartbeat_interval_ms=round(self.access.session_s * 1000 / 10),
            max_poll_interval_ms=round(self.access.poll_interval_s * 1000),
            group_instance_id=self.spec.worker or None,
        )
        return reader

    def _await_topics(self) -> None:
        deadline_s = time.monotonic() + TOPIC_WAIT_S
        told = False
        while (missing := self.rights.missing(BROKER_WAIT_S)) and self.control.reason is None:
            what = f"no topic {', '.join(missing)} at {self.access.brokers}"
            if time.monotonic() > deadline_s:
                raise WavemillError("bad_usage", f"{what}; make it, with as many partitions as you need")
            if not told:
                self.say(f"{what}; waiting {TOPIC_WAIT_S:g} s for it")
                told = True
            time.sleep(0.5)

    def open_writer(self) -> Transactions:
        wait_ms = round(BROKER_WAIT_S * 1000)
        return Transactions(self.access.client(), self.spec.transactional_id, BROKER_WAIT_S, bootstrap_timeout_ms=wait_ms)

    def commit(
        self, writer: Transactions, records: Sequence[Record], offsets: Mapping[TopicPartition, tuple[int, str]], membership: Any
    ) -> list[int]:
        """As `Transactions.commit`. Raises `broker_unavailable` also where brokers refuse what is written.

        A broker fences also whose transaction it gave up because it took too long, as where it was away meanwhile: that is a KafkaError.
        """
        began_s = time.monotonic()
        try:
            return writer.commit(records, offsets, membership)
        except AuthorizationError as error:
            raise self.rights.refusal(error) from error
        except WavemillError as error:
            late = time.monotonic() - began_s >= TRANSACTION_MS / 1000
            if error.code == "worker_fenced" and (late or not self.spec.worker):  # no other has a random name
                raise KafkaTimeoutError("the broker gave the transaction up") from error
            raise

    def open_states(self) -> StateReader:
        return StateReader(self.access.client(), self.spec.state, bootstrap_timeout_ms=round(BROKER_WAIT_S * 1000))

    def poll(self, reader: TopicReader, wait_s: float) -> list[Message]:
        """New messages; none where brokers do not answer. Raises `broker_unavailable` where they refuse, and `worker_fenced`."""
        try:
            return reader.poll(wait_s)
        except AuthorizationError as error:
            raise self.rights.refusal(error) from error
        except FencedInstanceIdError as error:
            raise WavemillError("worker_fenced", f"another worker has taken the name {self.spec.worker} over") from error
        except KafkaError as error:
            self.say(f"{self.spec.input}: {type(error).__name__}: {error}")
            time.sleep(TICK_S)
            return []
