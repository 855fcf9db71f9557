"""The ranges of offsets that a root has answered: one record each, created once and never changed, and one beside it when all is done.

A root is the OUT that a topic is drained into, or `--work` where OUT is a topic itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from sources.topic import Span
from transforms.errors import WavemillError
from transforms.store import Store

ROOT = "drain/drain.json"
"""Whose messages a root answers."""
DONE = ".done.json"


@dataclass(frozen=True, slots=True)
class Range:
    """The `number`-th range of a root: offsets of each partition, and how many messages were found there."""

    number: int
    topic: str
    spans: Mapping[int, Span]
    messages: int = 0

    @property
    def folder(self) -> str:
        offsets = json.dumps([self.topic, sorted((number, *span) for number, span in self.spans.items())])
        return f"ranges/{hashlib.sha256(offsets.encode()).hexdigest()[:32]}"

    @property
    def record(self) -> str:
        return f"drain/{self.number:08}.json"

    @property
    def done(self) -> str:
        return f"drain/{self.number:08}{DONE}"

    def to_json(self) -> bytes:
        return json.dumps({"wavemill": 1, **asdict(self), "folder": self.folder}).encode()


def read(store: Store, name: str) -> Range:
    """Raises `incomplete` for a record that is damaged."""
    found = store.read_object(name)
    if not found:
        raise WavemillError("incomplete", f"{store.path(name)} cannot be read: which messages it stands for is not known")
    spans = {int(number): Span(*span) for number, span in found["spans"].items()}
    return Range(found["number"], found["topic"], spans, found["messages"])


def records(store: Store) -> list[str]:
    """The records of all ranges, oldest first."""
    names = (entry.url for entry in store.entries("drain"))
    return sorted(name for name in names if name != ROOT and not name.endswith(DONE))


def finished(store: Store) -> set[str]:
    """The `done` of all ranges that are."""
    return {entry.url for entry in store.entries("drain") if entry.url.endswith(DONE)}


def last(store: Store) -> Range | None:
    """The range that was read last. Only it can be unfinished."""
    names = records(store)
    return read(store, names[-1]) if names else None
