"""What a worker makes of a transaction that failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from kafka.errors import KafkaError, KafkaTimeoutError

from pipelines.stream import brokers
from sinks.kafka import TRANSACTION_MS
from transforms.errors import WavemillError

FENCED = WavemillError("worker_fenced", "another worker has taken the name one over")
LATE_S = TRANSACTION_MS / 1000 + 1


@pytest.mark.parametrize(
    ("error", "worker", "took_s", "raised"),
    [
        (FENCED, "one", LATE_S, KafkaError),
        (FENCED, "", 0.0, KafkaError),
        (KafkaTimeoutError(), "one", 0.0, KafkaError),
        (FENCED, "one", 0.1, WavemillError),
        (WavemillError("broker_unavailable", "no right"), "one", LATE_S, WavemillError),
    ],
)
def test_a_worker_whose_transaction_the_broker_gave_up_goes_on_and_one_whose_name_was_taken_ends(
    error: Exception, worker: str, took_s: float, raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((0.0, took_s))
    monkeypatch.setattr(brokers, "time", SimpleNamespace(monotonic=lambda: next(times)))

    def commit(*_: Any) -> None:
        raise error

    here: Any = SimpleNamespace(spec=SimpleNamespace(worker=worker))
    writer: Any = SimpleNamespace(commit=commit)
    with pytest.raises(raised):
        brokers.Brokers.commit(here, writer, [], {}, None)
