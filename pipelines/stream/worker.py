"""The loop of a stream worker: poll, work one batch in a thread of its own, commit its outcomes with the offsets they answer for.

One transaction a batch: it writes what the last batch made, moves the group's offsets over it, and marks beside them what
the next batch will work, so that a death is counted by whoever comes after. Polling goes on meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass

from kafka import TopicPartition
from kafka.errors import KafkaError

from pipelines.stream import apart
from pipelines.stream.brokers import BROKER_WAIT_S, Brokers
from pipelines.stream.desk import Answer, Desk
from pipelines.stream.partitions import Entry, Partition, choose
from pipelines.stream.spec import StreamSpec
from pipelines.stream.watch import Watch
from pipelines.supervised import Control
from sources.kafka import Mark, Message
from transforms.command_line import Pulls
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess, Settings
from transforms.steps import Stopped

TICK_S, IDLE_S = 0.05, 0.2
HELD_BYTES = 128 << 20
GRACE_S = 5.0


@dataclass(slots=True)
class _Batch:
    entries: Sequence[Entry]
    future: Future[list[Answer]]
    began_s: float


class Worker:
    """`control.stop` drains it: the batch under way may end within `spec.drain_s`, is stopped within a piece after, and no other begins."""

    def __init__(
        self, spec: StreamSpec, settings: Settings, access: KafkaAccess, control: Control, watch: Watch, say: Callable[[str], None]
    ) -> None:
        self.spec, self.settings, self.control, self.watch, self.say = spec, settings, control, watch, say
        self.brokers = Brokers(spec, access, control, watch, say)
        self.stop, self.apart = threading.Event(), Control()
        self.partitions: dict[TopicPartition, Partition] = {}
        self.unread: set[TopicPartition] = set()
        self.batch: _Batch | None = None

    def run(self) -> bool:
        """Work until told to stop; whether nothing is left running. Raises `bad_usage`, and errors of the system at the start."""
        self.desk = Desk(self.spec, self.settings, self.stop, Pulls())
        self.pool = ThreadPoolExecutor(1, "batch")
        brokers = self.brokers
        reader = brokers.patiently(brokers.open_reader)
        if reader is None:
            return True
        self.reader = reader
        try:
            writer = brokers.patiently(brokers.open_writer)
            if writer is None:
                return True
            self.writer = writer
            try:
                reader.subscribe()
                self.watch.state = "running"
                self.say(f"{self.spec.input} -> {self.spec.output}, {self.spec.failures}: group {self.spec.group}, worker {writer.name}")
                while self.control.reason is None:
                    self._turn()
                return self._drain()
            except WavemillError as error:
                if error.code != "worker_fenced":  # then there is another who has it in hand
                    self._put_down()
                raise
            finally:
                self.writer.close()
        finally:
            reader.close()

    def _turn(self) -> None:
        busy = self.batch is not None
        messages = self.brokers.poll(self.reader, 0.0 if busy or self._due() else IDLE_S)
        self._lose()
        self._admit(messages)
        if self.batch:
            wait([self.batch.future], TICK_S)
        self._collect()
        if self.batch is None:
            self._commit(time.monotonic())
        self.reader.flow({home for home, partition in self.partitions.items() if self._full(partition)})
        held = self.partitions.values()
        lag = self.reader.lag({partition.home: partition.head for partition in held})
        self.watch.turn(sum(len(partition.entries) for partition in held), sum(partition.length_s for partition in held), lag)

    def _due(self) -> bool:
        now_s = time.monotonic()
        return any(next(partition.waiting(now_s), None) for partition in self.partitions.values())

    def _lose(self) -> None:
        """Forget partitions that were taken away: what was made of their messages is their next worker's to make."""
        for home in self.reader.take_gone():
            self.partitions.pop(home, None)
            self.unread.discard(home)

    def _admit(self, messages: Sequence[Message]) -> None:
        for home in ({message.home for message in messages} | self.unread) - set(self.partitions):
            self._resume(home)
            messages = [message for message in messages if message.home != home]
        for message in messages:
            partition = self.partitions[message.home]
            if message.offset >= partition.next_offset:
                partition.admit(Entry.of(message, self.spec.row))

    def _resume(self, home: TopicPartition) -> None:
        """Take a partition up where its group stands, whatever was fetched of it before."""
        try:
            committed = self.reader.committed(home)
            first = committed.offset if committed.offset is not None else self.reader.beginning(home)
            self.reader.seek(home, first)
            self.unread.discard(home)
        except KafkaError as error:
            self.say(f"partition {home.partition}: {type(error).__name__}: {error}")
            self.unread.add(home)  # what was fetched is gone; the position is set back at the next turn
            return
        except ValueError:
            return  # it has been taken away meanwhile
        if committed.mark.out:
            raise WavemillError(
                "bad_usage", f"the group {self.spec.group} is drained into {committed.mark.at}; give another group", "group"
            )
        self.partitions[home] = Partition(home, first, committed.mark, committed.mark)
        if committed.mark.tries:
            self.say(f"partition {home.partition}: {committed.mark.tries} workers ended over messages {first} to {committed.mark.to - 1}")

    def _full(self, partition: Partition) -> bool:
        """Whether it holds its share of what may be in memory."""
        share = max(1, len(self.partitions))
        return (
            len(partition.entries) >= self.spec.max_poll
            or partition.length_s >= 2 * self.spec.max_audio_s / share
            or partition.bytes >= HELD_BYTES / share
        )

    def _commit(self, now_s: float, last: bool = False) -> None:
        """One transaction, where there is anything to say, and then the next batch."""
        membership = self.reader.membership()  # before asking what is owned: who was fenced in between is refused by the broker
        self._lose()
        owned = self.reader.owned()
        held = [partition for home, partition in self.partitions.items() if home in owned]
        batch, alone = ([], False) if last else choose(held, now_s, self.spec.max_poll, self.spec.max_audio_s)
        finished = {partition.home: partition.finished() for partition in held}
        moves: dict[TopicPartition, tuple[int, Mark]] = {}
        for partition in held:
            offset = finished[partition.home][1]
            mark = partition.marked([entry for entry in batch if entry.message.home == partition.home], offset)
            if (offset, mark) != (partition.head, partition.mark):
                moves[partition.home] = (offset, mark)
        if moves:
            done = [entry.answer for home in moves for entry in finished[home][0] if entry.answer]
            began_s = time.monotonic()
            try:
                encoded = {home: (offset, mark.encode()) for home, (offset, mark) in moves.items()}
                self.brokers.commit(self.writer, [answer.record for answer in done if answer.record], encoded, membership)
            except KafkaError as error:
                self._recover(error)
                return
            self.watch.commit_s.observe(time.monotonic() - began_s)
            self.watch.count(done)
            for home, (offset, mark) in moves.items():
                self.partitions[home].advance(offset, mark)
        if batch:
            messages = [entry.message for entry in batch]
            future = (
                self.pool.submit(apart.answer, self.desk, messages, self.apart) if alone else self.pool.submit(self.desk.answer, messages)
            )
            self.batch = _Batch(batch, future, time.monotonic())

    def _collect(self) -> None:
        if self.batch is None or not self.batch.future.done():
            return
        batch, self.batch = self.batch, None
        self.watch.batch_s.observe(time.monotonic() - batch.began_s)
        try:
            answers = batch.future.result()
        except Stopped:
            return
        except WavemillError as error:
            self._put_off({entry.message.home for entry in batch.entries}, error.code, error.detail)
            return
        late: dict[TopicPartition, tuple[str, str]] = {}
        for entry, answer in zip(batch.entries, answers, strict=True):
            if answer.later:
                late.setdefault(entry.message.home, (answer.later.code, answer.later.detail))
            else:
                entry.answer = answer
        for home, (code, detail) in late.items():
            self._put_off({home}, code, detail)

    def _put_off(self, homes: set[TopicPartition], code: str, detail: str) -> None:
        self.watch.retries.labels(code).inc()
        for home in homes & set(self.partitions):
            wait_s = self.partitions[home].put_off(time.monotonic())
            self.say(f"partition {home.partition}: {code}: {detail}; again in {wait_s:g} s")

    def _recover(self, error: Exception) -> None:
        """It is not known whether the transaction was committed. A new producer of the same name ends it; the group's offsets tell."""
        self.say(f"transaction: {type(error).__name__}: {error}")
        self.writer.close()
        writer = self.brokers.patiently(self.brokers.open_writer)
        if writer is None:
            return
        self.writer = writer
        self.watch.state = "running"
        for home, partition in list(self.partitions.items()):
            committed = self.brokers.patiently(lambda home=home: self.reader.committed(home, BROKER_WAIT_S))  # type: ignore[misc]
            if committed and committed.offset is not None:
                self.watch.count(entry.answer for entry in partition.entries if entry.answer and entry.message.offset < committed.offset)
                partition.advance(committed.offset, committed.mark)

    def _put_down(self) -> None:
        """Take the marks off what was in hand, as far as brokers let: this worker does not die of it."""
        self.stop.set()
        self.apart.stop("refused")
        membership = self.reader.membership()
        held = [self.partitions[home] for home in self.reader.owned() & set(self.partitions)]
        marked = {one.home: (one.head, mark.encode()) for one in held if (mark := one.marked([], one.head)) != one.mark}
        if not marked:
            return
        self.writer.close()
        with suppress(KafkaError, WavemillError):
            self.writer = self.brokers.open_writer()
            self.writer.commit([], marked, membership)

    def _drain(self) -> bool:
        self.watch.state = "draining"
        deadline_s = time.monotonic() + self.spec.drain_s
        while self.batch and not self.control.killed:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                self.stop.set()
                self.apart.stop("drain")
                if left_s < -GRACE_S:
                    break
            self.brokers.poll(self.reader, 0.0)
            self._lose()
            wait([self.batch.future], TICK_S)
            self._collect()
        ended = self.batch is None
        self._commit(time.monotonic(), last=True)
        if ended:
            self.pool.shutdown()
            self.desk.close()
        return ended
