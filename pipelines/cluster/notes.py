"""What driver and workers of a cluster job tell each other, in OUT: the one place that both are sure to reach.

`cluster/job.json` names the job that runs, so that whoever comes next can end it. Under `cluster/TOKEN/` workers leave notes
(`hello`, `death`, `error`) and a mark for every unit they begin, and the driver leaves `stop`. A token lives as long as one driver.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from transforms.settings import PoolPlace
from transforms.storage import Store

ROOT = "cluster"
JOB = f"{ROOT}/job.json"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job of a driver, as the job server at `endpoint` knows it."""

    endpoint: str
    job_id: str
    token: str

    def write(self, store: Store) -> None:
        store.write(JOB, json.dumps(asdict(self)).encode())

    @staticmethod
    def read(store: Store) -> Submitted | None:
        found = store.read_object(JOB)
        return Submitted(**found) if found and found.keys() == {"endpoint", "job_id", "token"} else None


def stop(store: Store, token: str) -> None:
    """Have all workers of a job stop within a piece; the job then ends by itself. A runner's own cancelling may leave its job at work."""
    store.write(f"{ROOT}/{token}/stop", b"1")


def stopped(store: Store, token: str) -> bool:
    return store.exists(f"{ROOT}/{token}/stop")


def attempts(token: str) -> str:
    """The folder of marks: a file for each time that a unit was begun."""
    return f"{ROOT}/{token}/attempts"


def mark(store: Store, folder: str, unit: str, n: int) -> None:
    """Say that a unit is begun, before its first step: who counts the marks knows how often that was its worker's last."""
    store.write(f"{folder}/{unit}-{n}-{secrets.token_hex(6)}", b"1")


def count_marks(store: Store, folder: str) -> Counter[str]:
    """How often each `UNIT-N` was begun."""
    return Counter(name.rpartition("/")[2].rpartition("-")[0] for name, _ in store.sizes(folder))


def tell(store: Store, token: str, kind: str, **facts: Any) -> None:
    """Leave a note for the driver."""
    note = {"kind": kind, "host": PoolPlace().name, **facts}
    store.write(f"{ROOT}/{token}/notes/{kind}-{secrets.token_hex(6)}.json", json.dumps(note).encode())


class Inbox:
    """The notes of a token, each given once."""

    def __init__(self, store: Store, token: str) -> None:
        self.store, self.folder = store, f"{ROOT}/{token}/notes"
        self.seen: set[str] = set()

    def read(self) -> list[dict[str, Any]]:
        new = sorted(name for name, _ in self.store.sizes(self.folder) if name not in self.seen)
        self.seen.update(new)
        return [note for name in new if (note := self.store.read_object(name))]


def clear(store: Store) -> None:
    """Remove all that jobs into this OUT have left."""
    store.remove([name for name, _ in store.sizes(ROOT)])
