"""The lease: one driver per OUT, a dead one does not block, a living one is named."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psutil
import pytest

from pipelines.batch.lease import DRIVER, Lease, alive, require_free
from transforms.errors import WavemillError
from transforms.store import Store


def test_a_second_driver_is_refused_and_told_who_holds_it(out: str) -> None:
    store = Store(out)
    with Lease(store, DRIVER, 60):
        with pytest.raises(WavemillError) as caught, Lease(store, DRIVER, 60):
            pass
        assert caught.value.code == "lease_held" and f"pid {psutil.Process().pid}" in caught.value.detail
        with pytest.raises(WavemillError):
            require_free(store, 60)
    require_free(store, 60)
    assert not store.exists(DRIVER)


def test_a_lease_of_a_dead_process_is_taken_at_once(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, DRIVER, 60):
        held = store.read_object(DRIVER)
    assert held
    store.write(DRIVER, json.dumps({**held, "started_s": held["started_s"] - 100, "nonce": "dead"}).encode())
    with Lease(store, DRIVER, 60):
        pass


def test_the_heartbeat_of_another_host_is_believed_until_it_is_old() -> None:
    held = {"host": "elsewhere", "pid": 1, "started_s": 0.0, "beat_s": time.time() - 30}
    assert alive(held, ttl_s=60) and not alive(held, ttl_s=20)


def test_a_driver_that_was_taken_over_notices_and_leaves_the_new_lease_alone(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = Lease(store, DRIVER, 0.6).__enter__()
    with Lease(store, DRIVER, 0.6, take_over=True) as second:
        assert first.lost.wait(5)
        assert not second.lost.is_set()
        first.__exit__()
        assert store.exists(DRIVER)


def test_shards_do_not_hold_each_other(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, "leases/shard-0-of-2.json", 60), Lease(store, "leases/shard-1-of-2.json", 60), pytest.raises(WavemillError):
        require_free(store, 60)
