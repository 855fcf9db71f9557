"""A stream on two hosts of a cluster, of which one is cut off: the shortened form of what `make prove-cluster` shows."""

from __future__ import annotations

import pytest

pytest.importorskip("kafka", reason="the extra kafka is not installed")
pytest.importorskip("confluent_kafka", reason="what counts outcomes is not installed")

from benchmarks import cluster_streams
from benchmarks.hosts import Hosts
from benchmarks.witness import exact

pytestmark = [pytest.mark.slow, pytest.mark.java, pytest.mark.timeout(600)]


def test_a_host_that_was_cut_off_and_comes_back_doubles_and_loses_nothing(hosts: Hosts) -> None:
    account = cluster_streams.prove(hosts, 700, 15.0)
    assert exact(account), account
    assert account["answered meanwhile"], account
    assert account[cluster_streams.FENCED], account
