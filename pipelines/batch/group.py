"""The consumer group of a drain: where it stands, which root it is bound to, and moving it.

Whoever moves it first opens the group's one transactional producer, then looks where the group stands, then writes. Who opens
it later fences who opened it earlier, so what was looked at still holds when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from pipelines.batch.ranges import Range
from pipelines.supervised import Control
from sinks.kafka import Record, Transactions
from sources.access import Rights
from sources.kafka import Committed, Mark, Message, TopicReader
from sources.topic import Span, Topic
from transforms.errors import WavemillError
from transforms.settings import KafkaAccess
from transforms.store import Store

WAIT_S = 10.0
"""How long one attempt to reach a broker may take."""
BLOCK_RECORDS, BLOCK_BYTES = 500, 4 << 20
"""Most of one transaction."""

Answer = tuple[Message, Record]


class Group:
    """`id` is that of the root in `store`, empty where none is yet. Raises `bad_usage` for a topic that is not there.

    Every method raises `broker_unavailable` when brokers do not answer or refuse.
    """

    def __init__(self, source: Topic, out: Topic | None, store: Store, id: str, access: KafkaAccess) -> None:
        self.source, self.out, self.store, self.id, self.access = source, out, store, id, access
        self.wait = {"bootstrap_timeout_ms": round(WAIT_S * 1000)}
        written = [out.name, out.failures] if out else []
        self.rights = Rights(access, [source.name], written, source.group, f"wavemill-drain-{source.group}-{source.name}")
        with self.answering():
            missing = self.rights.missing(WAIT_S)
        if missing or source.name in written:
            why = f"no topic {', '.join(missing)} at {access.brokers}" if missing else f"{source.name} would be read and written"
            raise WavemillError("bad_usage", why, "source")
        with self.answering():
            self.reader = TopicReader(access.client(), source.name, source.group, **self.wait)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Kafka's errors as `broker_unavailable`."""
        try:
            with self.rights.telling(WAIT_S):
                yield
        except (KafkaError, OSError) as error:
            raise WavemillError("broker_unavailable", f"{self.access.brokers}: {type(error).__name__}: {error}") from error

    def ends(self) -> dict[int, int]:
        """Partition -> its end."""
        with self.answering():
            return {number: self.reader.end(self.reader.home(number)) for number in self.reader.numbers()}

    def stands(self) -> dict[int, Committed]:
        """Partition -> where the group stands there. Raises `bad_usage` when it is bound to another root."""
        with self.answering():
            found = {number: self.reader.committed(self.reader.home(number)) for number in self.reader.numbers()}
        for one in found.values():
            if one.mark.out and one.mark.out != self.id:
                raise WavemillError(
                    "bad_usage", f"the group {self.source.group} is drained into {one.mark.at}; give that, or another group", "out"
                )
        return found

    def bind(self) -> None:
        """From here on no other root answers the group's messages. Raises `bad_usage` while others read with the group."""
        with self._writer() as writer:
            loose = {number: one.offset for number, one in self.stands().items() if one.mark.out != self.id}
            self._require_alone()
            with self.answering():
                firsts = {
                    number: offset if offset is not None else self.reader.beginning(self.reader.home(number))
                    for number, offset in loose.items()
                }
            self._commit(writer, [], firsts)

    def _require_alone(self) -> None:
        with self.answering():
            admin = KafkaAdminClient(**self.access.client(), **self.wait)
            try:
                members = admin.describe_groups([self.source.group])[self.source.group]["members"]
            finally:
                admin.close()
        if members:
            raise WavemillError(
                "bad_usage", f"{len(members)} others read with the group {self.source.group} now; stop them first", "source"
            )

    def spans(self, last: Range | None, ends: Mapping[int, int]) -> dict[int, Span]:
        """What of each partition is to be read, up to `ends`: from where the group stands, or the `last` range ends if that is later.

        Raises `bad_usage` for a topic that is another by now.
        """
        spans = {}
        for number, one in self.stands().items():
            with self.answering():
                first = self.reader.beginning(self.reader.home(number))
            answered = max(one.offset or 0, last.spans[number].end if last and number in last.spans else 0)
            end = ends.get(number, answered)  # of a partition that is just made nothing is read yet
            if answered > end:
                why = f"partition {number} of {self.source.name} ends at {end}, but all before {answered} is answered: the topic was made anew"
                raise WavemillError("bad_usage", f"{why}; give another group and OUT", "source")
            start = max(answered, first)
            spans[number] = Span(start, max(start, end))
        return spans

    def deliver(self, range: Range, answers: Iterable[Answer], stopped: Control) -> bool:
        """Write the answers and move the group over the range; whether that came to its end.

        What the group has passed is answered already. Raises `worker_fenced` when another drain does the same.
        """
        with self._writer() as writer:
            stands = self.stands()
            if self.out and any(stands[number].offset is None for number in range.spans):
                why = f"the group {self.source.group} has lost its offsets; set them to the first messages that are not answered"
                raise WavemillError("bad_usage", why, "source")
            heads = {number: stands[number].offset or 0 for number in range.spans}
            for records, moved in _blocks(one for one in answers if one[0].offset >= heads[one[0].partition]):
                if stopped.reason is not None:
                    return False
                self._commit(writer, records, moved)
                heads |= moved
            self._commit(writer, [], {number: span.end for number, span in range.spans.items() if span.end > heads[number]})
        return True

    @contextmanager
    def _writer(self) -> Iterator[Transactions]:
        with self.answering():
            writer = Transactions(self.access.client(), self.rights.transactional_id, WAIT_S, **self.wait)
        try:
            yield writer
        finally:
            writer.close()

    def _commit(self, writer: Transactions, records: Sequence[Record], offsets: Mapping[int, int]) -> None:
        if offsets:
            mark = Mark(out=self.id, at=self.store.url).encode()
            with self.answering():
                writer.commit(records, {self.reader.home(number): (offset, mark) for number, offset in offsets.items()}, self.source.group)

    def close(self) -> None:
        self.reader.close()


def _blocks(answers: Iterable[Answer]) -> Iterator[tuple[list[Record], dict[int, int]]]:
    """The records of one transaction after another, each with the offsets behind them."""
    records: list[Record] = []
    moved: dict[int, int] = {}
    held = 0
    for message, record in answers:
        records.append(record)
        moved[message.partition] = message.offset + 1
        held += len(record.value or b"")
        if len(records) >= BLOCK_RECORDS or held > BLOCK_BYTES:
            yield records, moved
            records, moved, held = [], {}, 0
    if records:
        yield records, moved
