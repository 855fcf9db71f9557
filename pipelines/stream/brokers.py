"""How a worker reaches its brokers: patiently while they are away, not at all where they refuse."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kafka.errors import AuthorizationError, FencedInstanceIdError, KafkaError, SaslAuthenticationFailedError

from pipelines.stream.spec import StreamSpec
from pipelines.stream.watch import Watch
from pipelines.supervised import Control
from sinks.kafka import Transactions
from sources.kafka import Message, StateReader, TopicReader
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess

BROKER_WAIT_S = 5.0
"""How long one attempt to reach a broker may take."""
LONGEST_BACKOFF_S = 10.0
TICK_S = 0.05
T = TypeVar("T")


class Brokers:
    """Opens what a worker of `spec` reads and writes by."""

    def __init__(self, spec: StreamSpec, access: KafkaAccess, control: Control, watch: Watch, say: Callable[[str], None]) -> None:
        self.spec, self.access, self.control, self.watch, self.say = spec, access, control, watch, say

    def patiently(self, act: Callable[[], T]) -> T | None:
        """What `act` gives once brokers answer, or None when told to stop. Raises `broker_unavailable` where they refuse."""
        wait_s = 0.5
        while self.control.reason is None:
            try:
                return act()
            except (AuthorizationError, SaslAuthenticationFailedError) as error:
                raise WavemillError("broker_unavailable", f"{self.access.brokers} refuses: {error}") from error
            except (KafkaError, OSError) as error:
                self.watch.state = "waiting for brokers"
                self.say(f"waiting for {self.access.brokers}: {type(error).__name__}: {error}")
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_BACKOFF_S)
        return None

    def open_reader(self) -> TopicReader:
        """Raises `bad_usage` for a topic that is not there, and KafkaError."""
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
        if missing := reader.missing(self.spec.topics):
            reader.close()
            raise WavemillError(
                "bad_usage", f"no topic {', '.join(missing)} at {self.access.brokers}; make it, with as many partitions as you need"
            )
        return reader

    def open_writer(self) -> Transactions:
        wait_ms = round(BROKER_WAIT_S * 1000)
        return Transactions(self.access.client(), self.spec.transactional_id, BROKER_WAIT_S, bootstrap_timeout_ms=wait_ms)

    def open_states(self) -> StateReader:
        return StateReader(self.access.client(), self.spec.state, bootstrap_timeout_ms=round(BROKER_WAIT_S * 1000))

    def poll(self, reader: TopicReader, wait_s: float) -> list[Message]:
        """New messages; none where brokers do not answer. Raises `broker_unavailable` where they refuse, and `worker_fenced`."""
        try:
            return reader.poll(wait_s)
        except AuthorizationError as error:
            raise WavemillError("broker_unavailable", f"{self.access.brokers} refuses: {error}") from error
        except FencedInstanceIdError as error:
            raise WavemillError("worker_fenced", f"another worker has taken the name {self.spec.worker} over") from error
        except KafkaError as error:
            self.say(f"{self.spec.input}: {type(error).__name__}: {error}")
            time.sleep(TICK_S)
            return []
