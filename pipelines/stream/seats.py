"""What a live worker holds of each partition it owns: sessions, chunks to come, and how far deaths are counted.

Chunks are given to sessions only below `lease`, the offset that the mark beside the committed one names, so a worker that dies
of one leaves a mark that covers it. Each commit leases more.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from kafka import TopicPartition

from pipelines.supervised import DEATHS
from sinks.kafka import Record
from sources.kafka import Mark, Message
from transforms.live import Session

LEASE = 256
"""Chunks beyond the committed offset that may be worked before the next commit."""


@dataclass(slots=True)
class Seat:
    """A session on this worker. `at` is the offset of its newest committed state."""

    name: str
    session: Session
    touched_s: float
    at: int | None = None
    changed: bool = False
    looked: bool = False
    """Whether nothing has changed since it was not due."""
    hearing: bool = False
    retry_at_s: float = 0.0


@dataclass(slots=True)
class LivePartition:
    """`head` is committed, what is before `next_offset` is in the sessions, and `queue` is to come. `deaths` is what former workers left."""

    home: TopicPartition
    head: int
    next_offset: int
    state_from: int
    deaths: Mark
    seats: dict[str, Seat]
    lease: int = 0
    queue: deque[Message] = field(default_factory=deque)
    said: list[Record] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    saved_s: float = field(default_factory=time.monotonic)
    untried: set[str] | None = None

    @property
    def unsaved(self) -> bool:
        return bool(self.said or self.gone) or self.next_offset > self.head or any(seat.changed for seat in self.seats.values())

    @property
    def bytes(self) -> int:
        return sum(len(message.value or b"") for message in self.queue)

    @property
    def starved(self) -> bool:
        """Whether nothing can be done before the next commit."""
        return not self.lease or bool(self.queue and self.queue[0].offset >= self.lease)

    @property
    def suspect(self) -> bool:
        """Whether workers died so often here that what it holds is decoded and heard apart."""
        return self.deaths.tries >= DEATHS

    def mark(self, last: bool) -> Mark:
        """What to leave beside the next committed offset; with `last`, no more than former workers left."""
        if last:
            return self.deaths._replace(state=self.state_from)
        start = max(self.next_offset, self.queue[0].offset if self.queue else 0)
        return Mark(max(start + LEASE, self.deaths.to), self.deaths.tries + 1, self.state_from)

    def outlive(self) -> None:
        """Forget the deaths once all that was in hand at the last one is in its sessions, and each of them has been heard."""
        if not self.deaths.tries or not self.lease or self.next_offset < self.deaths.to:
            return
        untried = self.seats if self.untried is None else self.untried
        self.untried = {name for name in untried if name in self.seats and not self.seats[name].looked}
        if not self.untried:
            self.deaths, self.untried = Mark(), None
