"""Draining a topic: bounded runs over its messages, each exactly once, however often one is killed.

A root, OUT or where OUT is a topic `--work`, holds `drain/drain.json` (whose messages it answers), `drain/N.json` for each
range of offsets that was ever read, and each range's own run in `ranges/<digest of its offsets>/`. A range goes this way, and a
run begins with what is left of the last one:

1. The group is bound to the root, by the metadata of its committed offsets.
2. The messages are read and stored, then `drain/N.json` is created: from here on the range is what it is.
3. The usual run works it to a result or an item failure for every message, and publishes.
4. Kafka OUT: outcomes and offsets in transactions, each over some messages. Else: offsets alone.
5. `drain/N.done.json`: nothing is left of the range.

Steps 1 and 4 each open the group's one transactional producer, look where the group stands, and only then write. Who opens it later
fences who opened it earlier, so what was looked at still holds when it is written.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.batch import plan as plans, run as runs
from pipelines.batch.lease import DRIVER, Lease
from pipelines.spec import PipelineSpec
from pipelines.supervised import Control
from sources import topic
from sources.topic import Span, Topic
from transforms.errors import WavemillError
from transforms.records import KAFKA
from transforms.scratch import temporary_folder
from transforms.settings import KafkaAccess, Settings
from transforms.storage import Store

if TYPE_CHECKING:
    from pipelines.batch.outbox import Answer
    from sinks.kafka import Record, Transactions
    from sources.kafka import Committed, TopicReader

ROOT = "drain/drain.json"
BROKER_WAIT_S = 10.0
"""How long one attempt to reach a broker may take."""


@dataclass(frozen=True, slots=True)
class Range:
    """The `number`-th range that a root answers: the offsets of each partition, and how many messages they hold."""

    number: int
    topic: str
    spans: Mapping[int, Span]
    messages: int

    @property
    def folder(self) -> str:
        offsets = json.dumps([self.topic, sorted((number, *span) for number, span in self.spans.items())])
        return f"ranges/{hashlib.sha256(offsets.encode()).hexdigest()[:32]}"

    @property
    def record(self) -> str:
        return f"drain/{self.number:08}.json"

    @property
    def done(self) -> str:
        return f"drain/{self.number:08}.done.json"

    def to_json(self) -> bytes:
        return json.dumps({"wavemill": 1, **asdict(self), "folder": self.folder}).encode()

    @staticmethod
    def read(store: Store, name: str) -> Range:
        found = store.read_object(name)
        if not found:
            raise WavemillError("incomplete", f"{store.path(name)} cannot be read: which messages it stands for is not known")
        spans = {int(number): Span(*span) for number, span in found["spans"].items()}
        return Range(found["number"], found["topic"], spans, found["messages"])


def drain(
    spec: PipelineSpec,
    settings: Settings,
    progress: runs.Progress,
    control: Control,
    take_over: bool = False,
    access: KafkaAccess | None = None,
) -> runs.Summary:
    """Finish what is left of the last range, then answer the messages up to the topic's present end.

    Raises `bad_usage`, `lease_held`, `incomplete` while a message waits for what may pass, and errors of the system.
    """
    root = root_of(spec)
    store = Store(root, settings.storage_patience_s)
    with Lease(store, DRIVER, settings.lease_ttl_s, take_over) as lease, _talking(spec, store, settings, access) as talk:
        _identify(spec, talk, create=True)
        ends = talk.bind()
        summaries: list[runs.Summary] = []
        left = last_range(store)
        if left and not store.exists(left.done):
            summaries.append(_finish(spec, talk, left, settings, progress, control, take_over, lease))
        while (not summaries or summaries[-1].published) and control.reason is None and not lease.lost.is_set():
            fresh = _freeze(spec, talk, ends, control)
            if fresh is None:
                break
            if fresh.messages:
                summaries.append(_finish(spec, talk, fresh, settings, progress, control, take_over, lease))
                break
    return _sum(summaries, store.url, control)


def preview(spec: PipelineSpec, settings: Settings, scratch: Path, probe: bool, access: KafkaAccess | None = None) -> plans.Plan:
    """What `drain` would do first: the plan of the range that is left, else of one that is read into `scratch`. Writes nothing.

    Raises `bad_usage`, also where there are no messages.
    """
    root = root_of(spec)
    store = Store(root, settings.storage_patience_s)
    left = last_range(store)
    if left and not store.exists(left.done):
        inner = Store(store.path(left.folder), settings.storage_patience_s)
        return plans.make(_inner(spec, inner), settings, inner, scratch, dry=True, probe=probe)
    with _talking(spec, store, settings, access) as talk:
        if store.exists(ROOT):
            _identify(spec, talk, create=False)
        here = Store(str(scratch / "range"))
        (scratch / "range").mkdir()
        spans = topic.share(talk.spans(talk.look(), left, talk.ends()), spec.limit)
        read = topic.read(talk.reader, spans, settings.storage_patience_s, lambda: False)
        if not topic.write(read, spec.row, here, scratch / "range" / topic.MESSAGES):
            raise WavemillError("bad_usage", f"{spec.source}: the group has no messages before it", "source")
        return replace(plans.make(_inner(spec, here), settings, here, scratch, dry=True, probe=probe), spec=spec)


def root_of(spec: PipelineSpec) -> str:
    """Where plan, parts and outputs stand. Raises `bad_usage` for what a drain cannot be."""
    out = spec.out.startswith(KAFKA)
    for name, wrong in (("shard", spec.shard), ("columns", spec.columns), ("allow_shrink", spec.allow_shrink)):
        if wrong:
            raise WavemillError("bad_usage", f"--{name.replace('_', '-')} has no meaning where SOURCE is a topic", name)
    if out and not spec.work:
        raise WavemillError("bad_usage", "OUT is a topic: --work URL says where plan, parts and outputs stand", "work")
    if spec.work and not out:
        raise WavemillError("bad_usage", "--work is for an OUT that is a topic", "work")
    return spec.work if out else spec.out


def last_range(store: Store) -> Range | None:
    """The range that was read last. Only it can be unfinished."""
    names = records(store)
    return Range.read(store, names[-1]) if names else None


def records(store: Store) -> list[str]:
    """The records of all ranges, oldest first."""
    names = (entry.url for entry in store.entries("drain"))
    return sorted(name for name in names if name.removeprefix("drain/")[:1].isdigit() and not name.endswith(".done.json"))


def _identify(spec: PipelineSpec, talk: _Talk, create: bool) -> None:
    """What the root is for, fixed by the first drain. Raises `bad_usage` for another."""
    source, store = talk.source, talk.store
    mine = {"operation": spec.operation, "topic": source.name, "group": source.group, "out": talk.out.name if talk.out else ""}
    if create:
        if store.exists(plans.PLAN) or store.exists(plans.SHARDS):
            raise WavemillError("bad_usage", f"{store.url} holds an ordinary run; give another OUT", "out")
        store.create(ROOT, json.dumps({"wavemill": 1, "id": secrets.token_hex(12), **mine}).encode())
    found = store.read_object(ROOT) or {}
    for name, value in mine.items():
        if found.get(name) != value:
            raise WavemillError("bad_usage", f"{store.url} is for the {name} {found.get(name)!r}, not {value!r}; give another", "out")
    talk.id = found["id"]


def _freeze(spec: PipelineSpec, talk: _Talk, ends: Mapping[int, int], control: Control) -> Range | None:
    """Read and store the messages up to `ends`, or as many as `limit` says; None when there is nothing.

    Of a range without a message, which holds but what Kafka writes for itself, the group is moved over it.
    """
    last = last_range(talk.store)
    spans = topic.share(talk.spans(talk.look(), last, ends), spec.limit)
    if all(span.start >= span.end for span in spans.values()):
        return None
    made = Range(last.number + 1 if last else 1, talk.source.name, spans, 0)
    inner = Store(talk.store.path(made.folder), talk.settings.storage_patience_s)
    with temporary_folder() as scratch:
        blocks = topic.read(talk.reader, spans, talk.settings.storage_patience_s, lambda: control.reason is not None)
        with talk.patience():
            count = topic.write(blocks, spec.row, inner, scratch / topic.MESSAGES)
        if control.reason is not None:
            return None
        if not count:
            talk.deliver(made, iter(()), control)
            return made
        inner.upload(scratch / topic.MESSAGES, topic.MESSAGES)
    inner.flush()
    made = replace(made, messages=count)
    if not talk.store.create(made.record, made.to_json()):
        raise WavemillError("lease_lost", f"another driver drains into {talk.store.url}")
    return made


def _finish(
    spec: PipelineSpec,
    talk: _Talk,
    range: Range,
    settings: Settings,
    progress: runs.Progress,
    control: Control,
    take_over: bool,
    lease: Lease,
) -> runs.Summary:
    """Work a range and move the group over it; without that, when it is stopped before every message has its outcome."""
    inner = Store(talk.store.path(range.folder), settings.storage_patience_s)
    summary = runs.run_into(_inner(spec, inner), settings, progress, control, take_over)
    if not summary.published:
        return summary
    if lease.lost.is_set():
        raise WavemillError("lease_lost", f"another driver took {talk.store.url} over")
    with temporary_folder() as scratch:
        answers = _answers(spec, talk.out, inner, scratch) if talk.out else iter(())
        if not talk.deliver(range, answers, control):
            summary.state, summary.exit_code, summary.published = "interrupted", 143 if control.reason == "SIGTERM" else 130, False
            summary.next = "the same command again goes on where this stopped"
            return summary
    talk.store.write(range.done, b"{}")
    if talk.out:
        summary.out = f"{KAFKA}{talk.out.name}"
        summary.next = f"wavemill run {spec.operation} 'kafka://{talk.out.failures}?group=NEW' tries the failures again" if summary.failed else ""
    return summary


def _answers(spec: PipelineSpec, out: Topic, store: Store, scratch: Path) -> Iterator[Answer]:
    from pipelines.batch import outbox  # needs Kafka's client

    return outbox.answers(spec, out, store, scratch)


def _inner(spec: PipelineSpec, store: Store) -> PipelineSpec:
    return spec.model_copy(update={"out": store.url, "work": "", "limit": None})


def _sum(summaries: Sequence[runs.Summary], root: str, control: Control) -> runs.Summary:
    if not summaries:
        stopped = control.reason is not None
        code = (143 if control.reason == "SIGTERM" else 130) if stopped else 0
        return runs.Summary("interrupted" if stopped else "done", code, root, next="" if stopped else "the group has no messages before it")
    first, *rest = summaries
    for one in rest:
        failed = {code: first.failed.get(code, 0) + one.failed.get(code, 0) for code in sorted({*first.failed, *one.failed})}
        first = replace(
            one,
            state=one.state if one.exit_code else first.state,
            exit_code=one.exit_code or first.exit_code,
            rows=first.rows + one.rows,
            done=first.done + one.done,
            failed=failed,
            made=first.made + one.made,
            audio_h=first.audio_h + one.audio_h,
            seconds=first.seconds + one.seconds,
            work_seconds=first.work_seconds + one.work_seconds,
            deaths=first.deaths + one.deaths,
        )
    return first


@contextmanager
def _talking(spec: PipelineSpec, store: Store, settings: Settings, access: KafkaAccess | None) -> Iterator[_Talk]:
    source = Topic.parse(spec.source, "source")
    out = Topic.parse(spec.out, "out") if spec.out.startswith(KAFKA) else None
    try:
        from sources.kafka import TopicReader
    except ImportError:
        raise WavemillError("bad_usage", "Kafka's client is not installed; pip install 'wavemill[kafka]' brings it") from None
    access = access or KafkaAccess(**topic.brokers())
    talk = _Talk(source, out, store, settings, access)
    with talk.patience():
        talk.reader = TopicReader(access.client(), source.name, source.group, topic.BLOCK_MESSAGES, bootstrap_timeout_ms=round(BROKER_WAIT_S * 1000))
    try:
        names = {source.name, *((out.name, out.failures) if out else ())}
        with talk.patience():
            missing = talk.reader.missing(sorted(names))
        if missing:
            raise WavemillError("bad_usage", f"no topic {', '.join(missing)} at {access.brokers}", "source")
        if out and source.name in (out.name, out.failures):
            raise WavemillError("bad_usage", f"{source.name} is read and written", "out")
        yield talk
    finally:
        talk.reader.close()


class _Talk:
    """What a drain has to do with Kafka: where the group stands, and moving it."""

    def __init__(self, source: Topic, out: Topic | None, store: Store, settings: Settings, access: KafkaAccess) -> None:
        self.source, self.out, self.store, self.settings, self.access = source, out, store, settings, access
        self.id = ""
        self.reader: TopicReader

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Kafka's errors as `broker_unavailable`."""
        from kafka.errors import KafkaError

        try:
            yield
        except (KafkaError, OSError) as error:
            raise WavemillError("broker_unavailable", f"{self.access.brokers}: {type(error).__name__}: {error}") from error

    def ends(self) -> dict[int, int]:
        with self.patience():
            return {number: self.reader.end(self.reader.home(number)) for number in self.reader.numbers()}

    def look(self) -> dict[int, Committed]:
        """Where the group stands. Raises `bad_usage` when it is bound to another root."""
        with self.patience():
            found = {number: self.reader.committed(self.reader.home(number)) for number in self.reader.numbers()}
        for committed in found.values():
            if committed.mark.out and committed.mark.out != self.id:
                raise WavemillError(
                    "bad_usage", f"the group {self.source.group} is drained into {committed.mark.at}; give that, or another group", "out"
                )
        return found

    def bind(self) -> dict[int, int]:
        """Bind the group to this root; the topic's ends. Raises `bad_usage` while others read with the group."""
        ends = self.ends()
        with self._writer() as writer:
            stands = self.look()
            self._require_alone()
            loose = {number: one for number, one in stands.items() if one.mark.out != self.id}
            with self.patience():
                firsts = {number: self.reader.beginning(self.reader.home(number)) for number, one in loose.items() if one.offset is None}
            self._commit(writer, [], {number: firsts.get(number, one.offset or 0) for number, one in loose.items()})
        return {number: ends.get(number, 0) for number in stands}

    def _require_alone(self) -> None:
        from kafka.admin import KafkaAdminClient

        with self.patience():
            admin = KafkaAdminClient(**self.access.client(), bootstrap_timeout_ms=round(BROKER_WAIT_S * 1000))
            try:
                members = admin.describe_groups([self.source.group])[self.source.group]["members"]
            finally:
                admin.close()
        if members:
            raise WavemillError("bad_usage", f"{len(members)} others read with the group {self.source.group} now; stop them first", "source")

    def spans(self, stands: Mapping[int, Committed], last: Range | None, ends: Mapping[int, int]) -> dict[int, Span]:
        """What is to be read of each partition. Raises `bad_usage` for a topic that is another by now."""
        spans = {}
        for number, one in stands.items():
            with self.patience():
                first = self.reader.beginning(self.reader.home(number))
            known = max(one.offset or 0, last.spans[number].end if last and number in last.spans else 0)
            end = ends.get(number, 0)
            if known > end and number in ends:
                detail = f"partition {number} of {self.source.name} ends at {end}, but all before {known} is answered: the topic was made anew?"
                raise WavemillError("bad_usage", f"{detail} Give another group and OUT", "source")
            spans[number] = Span(max(known, first), max(end, known))
        return spans

    def deliver(self, range: Range, answers: Iterator[Answer], control: Control) -> bool:
        """Write the answers and move the group over the range; whether that came to its end.

        What the group has passed is answered already. Raises `worker_fenced` when another drain does the same.
        """
        from pipelines.batch.outbox import blocks

        with self._writer() as writer:
            stands = self.look()
            if self.out and any(stands[number].offset is None for number in range.spans):
                raise WavemillError(
                    "bad_usage", f"the group {self.source.group} has lost its offsets: set them to the first message that is not answered", "source"
                )
            heads = {number: stands[number].offset or 0 for number in range.spans}
            for records, moved in blocks(one for one in answers if one[0].offset >= heads[one[0].partition]):
                if control.reason is not None:
                    return False
                self._commit(writer, records, moved)
                heads |= moved
            self._commit(writer, [], {number: span.end for number, span in range.spans.items() if span.end > heads[number]})
        return True

    @contextmanager
    def _writer(self) -> Iterator[Transactions]:
        """The group's one producer. To open it fences who has it, and ends what was left open."""
        from sinks.kafka import Transactions

        wait_s = BROKER_WAIT_S
        name = f"wavemill-drain-{self.source.group}-{self.source.name}"
        with self.patience():
            writer = Transactions(self.access.client(), name, wait_s, bootstrap_timeout_ms=round(wait_s * 1000))
        try:
            yield writer
        finally:
            writer.close()

    def _commit(self, writer: Transactions, records: Sequence[Record], offsets: Mapping[int, int]) -> None:
        from sources.kafka import Mark

        if not offsets:
            return
        mark = Mark(out=self.id, at=self.store.url).encode()
        with self.patience():
            writer.commit(records, {self.reader.home(number): (offset, mark) for number, offset in offsets.items()}, self.source.group)
