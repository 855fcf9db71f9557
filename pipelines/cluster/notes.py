"""What driver and workers of a cluster job tell each other, in OUT: the one place that both are sure to reach.

`cluster/HOLDER.json` names the work of one driver that is under way, so that whoever comes next can end it; a holder is what its
lease is called. Under `cluster/TOKEN/` workers leave notes (`hello`, `death`, `error`, and a `beat` as long as they live) and a mark for every unit they begin, and
the driver leaves `stop`. A token lives as long as one driver.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from typing import Any

from transforms.settings import PoolPlace
from transforms.store import Store

ROOT = "cluster"


def record(lease: str) -> str:
    """The file that names a driver's work, by the name of its lease."""
    return f"{ROOT}/{lease.rpartition('/')[2]}"


def begin(store: Store, lease: str, endpoint: str) -> str:
    """The token of a driver that sends work now."""
    token = secrets.token_hex(6)
    store.write(record(lease), json.dumps({"token": token, "endpoint": endpoint}).encode())
    return token


def end_left(store: Store, lease: str) -> None:
    """End what a dead driver of this lease left at work: it would be done twice. Its workers look for that within seconds."""
    if store.exists(record(lease)):
        token = (store.read_object(record(lease)) or {}).get("token")
        if isinstance(token, str):
            stop(store, token)
        store.remove([record(lease)])


def stop(store: Store, token: str) -> None:
    """Have all workers of a job stop within a piece; the job then ends by itself. A runner's own cancelling may leave its job at work."""
    store.write(f"{ROOT}/{token}/stop", b"1")


def stopped(store: Store, token: str) -> bool:
    return store.exists(f"{ROOT}/{token}/stop")


def attempts(token: str) -> str:
    """The folder of marks: a file for each time that a unit was begun."""
    return f"{ROOT}/{token}/attempts"


def mark(store: Store, folder: str, unit: str, n: int) -> str:
    """Say that a unit is begun, before its first step; the mark's name. Who ends it in an orderly way, whatever became of it, removes the
    mark, so those that are left tell how often that unit was its worker's last."""
    name = f"{folder}/{unit}-{n}-{secrets.token_hex(6)}"
    store.write(name, b"1")
    return name


def count_marks(store: Store, folder: str) -> Counter[str]:
    """How often each `UNIT-N` was begun and not ended."""
    return Counter(name.rpartition("/")[2].rpartition("-")[0] for name, _ in store.sizes(folder))


def tell(store: Store, token: str, kind: str, **facts: Any) -> None:
    """Leave a note for the driver."""
    note = {"kind": kind, "host": PoolPlace().name, **facts}
    store.write(f"{ROOT}/{token}/notes/{kind}-{secrets.token_hex(6)}.json", json.dumps(note).encode())


def beat(store: Store, token: str, name: str) -> None:
    """Say that a share is still worked on; `name` is that of its own beat."""
    store.write(f"{ROOT}/{token}/notes/beat-{name}", b"1")


class Inbox:
    """The notes of a token, each given once, and `beat` for each beat since the last look."""

    def __init__(self, store: Store, token: str) -> None:
        self.store, self.folder = store, f"{ROOT}/{token}/notes"
        self.seen: dict[str, float] = {}

    def read(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for entry in self.store.entries(self.folder):
            if self.seen.get(entry.url) == entry.modified_s:
                continue
            self.seen[entry.url] = entry.modified_s
            if "/beat-" in entry.url:
                found.append({"kind": "beat"})
            elif note := self.store.read_object(entry.url):
                found.append(note)
        return found


def clear(store: Store, lease: str, token: str) -> None:
    """Remove all of a driver whose work has ended."""
    store.remove([*(name for name, _ in store.sizes(f"{ROOT}/{token}")), record(lease)])
