"""One turn at a partition outside a consumer group: what a Beam bundle does, wherever and however often its runner gives it.

Who begins a turn opens the partition's one transactional producer, which fences whoever had it before, and then looks where the
group stands. So of two that work the same messages one commits, and who comes later finds them answered.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from pipelines.stream import apart
from pipelines.stream.desk import Desk
from pipelines.stream.partitions import NO_MARK, Entry, Partition, choose
from pipelines.stream.spec import StreamSpec
from pipelines.supervised import Control
from sinks.kafka import Transactions
from sources.kafka import TopicReader
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess

WAIT_S = 10.0
"""How long one attempt to reach a broker may take."""
TURN_S = 5.0
"""After so long no other batch is begun: other partitions may wait for this thread."""
IDLE_S, REST_S, RETRY_S = 0.5, 1.0, 5.0
Claim = Callable[[int], bool]


class Superseded(Exception):
    """A later job works the partition."""


def open_writer(spec: StreamSpec, access: KafkaAccess, number: int) -> Transactions:
    """The one producer of a partition: who had it before is fenced, and what that left open is ended. Raises KafkaError."""
    wait_ms = round(WAIT_S * 1000)
    return Transactions(access.client(), f"wavemill-{spec.group}-{spec.input}-{number}", WAIT_S, bootstrap_timeout_ms=wait_ms)


def dismiss(spec: StreamSpec, access: KafkaAccess, reader: TopicReader, number: int, job: str) -> None:
    """Take the partition away from all jobs before `job`: their turns end. Raises KafkaError."""
    writer = open_writer(spec, access, number)
    try:
        home = reader.home(number)
        offset, mark = reader.committed(home, WAIT_S)
        left = mark if mark.tries > 1 else NO_MARK  # a turn that is ended so did not die
        kept = left._replace(tries=max(0, left.tries - 1), job=job)
        writer.commit([], {home: (reader.beginning(home) if offset is None else offset, kept.encode())}, spec.group)
    finally:
        writer.close()


class Turn:
    """A context: a partition's reader and writer, closed at the end. Raises KafkaError, `bad_usage` for a drained group, and `Superseded`."""

    def __init__(self, desk: Desk, access: KafkaAccess, number: int, job: str) -> None:
        self.desk, self.spec, self.job = desk, desk.spec, job
        self.wait_s = 0.0
        """How long the partition is to be left alone: nothing is there, or a fault of elsewhere is."""
        with ExitStack() as opened:
            self.writer = open_writer(self.spec, access, number)
            opened.callback(self.writer.close)
            self.reader = TopicReader(access.client(), self.spec.input, self.spec.group, bootstrap_timeout_ms=round(WAIT_S * 1000))
            opened.callback(self.reader.close)
            home = self.reader.home(number)
            committed = self.reader.committed(home)
            mark = committed.mark
            if mark.out:
                raise WavemillError("bad_usage", f"the group {self.spec.group} is drained into {mark.at}; give another group", "group")
            if mark.job > job:
                raise Superseded
            first = committed.offset if committed.offset is not None else self.reader.beginning(home)
            self.partition = Partition(home, first, mark, mark._replace(job="") if mark.tries else NO_MARK)
            self.reader.take(home, first)
            self._opened = opened.pop_all()

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def work(self, claim: Claim) -> bool:
        """Work what is there for a while; false once `claim` refuses an offset: the messages up to there are another's.

        Raises `worker_fenced` when another took the partition over, errors of the system, and KafkaError when a commit is in doubt: the
        next turn finds out.
        """
        goes_on = True
        deadline_s = time.monotonic() + TURN_S
        self._commit([])  # so that it is seen who works here
        while goes_on and not self.wait_s and time.monotonic() < deadline_s:
            if next(self.partition.waiting(0.0), None) is None:
                for message in self.reader.poll(IDLE_S):
                    self.partition.admit(Entry.of(message, self.spec.row))
            batch, alone = choose([self.partition], 0.0, self.spec.max_poll, self.spec.max_audio_s)
            if not batch:
                self.wait_s = REST_S
                break
            goes_on = claim(batch[-1].message.offset)
            if goes_on:
                self._commit(batch)
                self._answer(batch, alone)
        self._commit([])
        return goes_on

    def _answer(self, batch: list[Entry], alone: bool) -> None:
        messages = [entry.message for entry in batch]
        try:
            answers = apart.answer(self.desk, messages, Control()) if alone else self.desk.answer(messages)
        except WavemillError:
            self._commit([])  # nobody died
            raise
        for entry, answer in zip(batch, answers, strict=True):
            if answer.later:
                self.wait_s = RETRY_S
            else:
                entry.answer = answer

    def _commit(self, batch: list[Entry]) -> None:
        """Write what is answered, and mark what is worked next."""
        done, offset = self.partition.finished()
        mark = self.partition.marked(batch, offset)._replace(job=self.job)
        if (offset, mark) == (self.partition.head, self.partition.mark):
            return
        records = [entry.answer.record for entry in done if entry.answer and entry.answer.record]
        self.writer.commit(records, {self.partition.home: (offset, mark.encode())}, self.spec.group)
        self.partition.advance(offset, mark)
