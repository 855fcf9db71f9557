"""What a worker makes of a transaction that failed."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")

from kafka.errors import KafkaTimeoutError

from pipelines.stream.brokers import Brokers
from sinks.kafka import TRANSACTION_MS
from transforms.errors import WavemillError

FENCED = WavemillError("worker_fenced", "another worker has taken the name one over")


def judge(error: Exception, worker: str, took_s: float) -> None:
    worker_of: Any = SimpleNamespace(spec=SimpleNamespace(worker=worker))
    Brokers.judge(worker_of, error, time.monotonic() - took_s)


def test_a_worker_whose_transaction_the_broker_gave_up_goes_on_and_one_whose_name_was_taken_ends() -> None:
    late_s = TRANSACTION_MS / 1000 + 1
    judge(FENCED, "one", late_s)
    judge(FENCED, "", 0.0)
    judge(KafkaTimeoutError(), "one", 0.0)
    for error, took_s in ((FENCED, 0.1), (WavemillError("broker_unavailable", "no right"), late_s)):
        with pytest.raises(WavemillError):
            judge(error, "one", took_s)
