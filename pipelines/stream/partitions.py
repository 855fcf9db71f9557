"""What a worker holds of each partition it owns: messages in order, their outcomes, and how far all is finished.

The committed offset only ever moves over a finished prefix, so results of a partition are written in the order of its
messages: those of one key stay in order also when one of them is tried again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from kafka import TopicPartition

from pipelines.stream.desk import Answer
from pipelines.supervised import DEATHS
from sources import claims
from sources.kafka import Mark, Message
from transforms.errors import WavemillError
from transforms.operations import Operation

NO_MARK = Mark()
BACKOFF_S, LONGEST_BACKOFF_S = 1.0, 60.0


@dataclass(slots=True)
class Entry:
    """A message that is held; `length_s` is what it counts for, `answer` what became of it."""

    message: Message
    length_s: float
    answer: Answer | None = None

    @classmethod
    def of(cls, message: Message, row: Operation) -> Entry:
        """It counts for as much as a look at its claim tells, and for nothing where it is none."""
        try:
            return cls(message, claims.length_s(claims.parse(claims.unwrap(message.value)[0]), row))
        except WavemillError:
            return cls(message, 0.0)


@dataclass(slots=True)
class Partition:
    """`head` is the committed offset. `mark` is what the broker holds of deaths, `deaths` what a former worker's left mark counts."""

    home: TopicPartition
    head: int
    mark: Mark = NO_MARK
    deaths: Mark = NO_MARK
    entries: deque[Entry] = field(default_factory=deque)
    length_s: float = 0.0
    bytes: int = 0
    retries: int = 0
    retry_at_s: float = 0.0

    @property
    def next_offset(self) -> int:
        """The least offset of a message that is not held yet."""
        return self.entries[-1].message.offset + 1 if self.entries else self.head

    def admit(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.length_s += entry.length_s
        self.bytes += len(entry.message.value or b"")

    @property
    def suspect(self) -> bool:
        """Whether what is next has killed its process so often that it must be worked apart."""
        return self.deaths.tries >= DEATHS and self.head < self.deaths.to

    def waiting(self, now_s: float) -> Iterator[Entry]:
        """Messages without an outcome, if the partition is not being left alone for a while."""
        return iter(()) if now_s < self.retry_at_s else (entry for entry in self.entries if entry.answer is None)

    def finished(self) -> tuple[list[Entry], int]:
        """The messages whose outcomes may be written, and the offset behind them."""
        done = list(takewhile(lambda entry: entry.answer is not None, self.entries))
        return done, done[-1].message.offset + 1 if done else self.head

    def marked(self, batch: Iterable[Entry], offset: int) -> Mark:
        """The mark to leave at `offset` while `batch` (of this partition alone) is worked; none for an empty one."""
        ends = [entry.message.offset + 1 for entry in batch]
        if not ends:
            return self.deaths if offset < self.deaths.to else NO_MARK
        known = self.deaths if offset < self.deaths.to else NO_MARK
        return Mark(max(*ends, known.to), known.tries + 1)

    def advance(self, offset: int, mark: Mark) -> None:
        """The broker has `offset` and `mark`."""
        while self.entries and self.entries[0].message.offset < offset:
            gone = self.entries.popleft()
            self.length_s -= gone.length_s
            self.bytes -= len(gone.message.value or b"")
        if offset > self.head:
            self.retries, self.retry_at_s = 0, 0.0
        self.head, self.mark = max(self.head, offset), mark
        if self.head >= self.deaths.to:
            self.deaths = NO_MARK

    def put_off(self, now_s: float) -> float:
        """Leave the partition alone for a while, twice as long each time; how long."""
        wait_s = min(BACKOFF_S * float(2**self.retries), LONGEST_BACKOFF_S)
        self.retries += 1
        self.retry_at_s = now_s + wait_s
        return wait_s


def choose(partitions: Sequence[Partition], now_s: float, most: int, most_s: float) -> tuple[list[Entry], bool]:
    """The next batch, shared out evenly over partitions, and whether it must be worked apart (then it is of one partition).

    At most `most` messages and, but for a single one, `most_s` seconds.
    """
    waiting = {partition.home: deque(islice(partition.waiting(now_s), most)) for partition in partitions}
    for partition in partitions:
        apart = [entry for entry in waiting[partition.home] if partition.suspect and entry.message.offset < partition.deaths.to]
        if apart:
            return apart, True
    chosen: list[Entry] = []
    total_s = 0.0
    lines = [line for line in waiting.values() if line]
    while lines and len(chosen) < most:
        for line in list(lines):
            if len(chosen) == most or (chosen and total_s + line[0].length_s > most_s):
                return chosen, False
            total_s += line[0].length_s
            chosen.append(line.popleft())
            if not line:
                lines.remove(line)
    return chosen, False
