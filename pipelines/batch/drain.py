"""Draining a topic: bounded runs over its messages, each exactly once, however often one is killed.

Each run begins with what is left of the range that was read last:

1. The group is bound to the root (`pipelines/batch/ranges.py`) by the metadata of its committed offsets.
2. The messages up to the topic's end are read and stored, then the range's record is created: it is what it is from here on.
3. The usual run works them in the range's own folder to a result or an item failure each, and publishes.
4. Kafka OUT: outcomes and offsets in transactions, each over some messages. Any other OUT: the offsets alone.
5. The range is marked as done.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.batch import plan as plans, ranges, run as runs
from pipelines.batch.lease import DRIVER, Lease
from pipelines.batch.ranges import Range
from pipelines.spec import PipelineSpec
from pipelines.supervised import Control
from sources import topic
from sources.topic import Topic
from transforms.errors import WavemillError
from transforms.records import KAFKA
from transforms.scratch import temporary_folder
from transforms.settings import KafkaAccess, Settings
from transforms.store import Store

if TYPE_CHECKING:
    from pipelines.batch.group import Group

NOTHING = "nothing to do: the group stands at the end of the topic"


def drain(spec: PipelineSpec, settings: Settings, progress: runs.Progress, control: Control, take_over: bool = False) -> runs.Summary:
    """Finish what is left of the last range, then answer the messages up to the topic's present end.

    Raises `bad_usage`, `lease_held`, `incomplete` while a message waits for what may pass, and errors of the system.
    """
    store = Store(root_of(spec), settings.storage_patience_s)
    summaries: list[runs.Summary] = []
    with Lease(store, DRIVER, settings.lease_ttl_s, take_over) as lease, _joining(spec, store) as group:
        ends = group.ends()
        group.stands()  # of another root's group no trace is left here
        _identify(spec, group)
        group.bind()
        one = _Drain(spec, settings, progress, control, take_over, lease, store, group)
        if (left := ranges.last(store)) and not store.exists(left.done):
            summaries.append(one.finish(left))
        while all(summary.published for summary in summaries) and control.reason is None:
            fresh = one.freeze(ends)
            if fresh and fresh.messages:
                summaries.append(one.finish(fresh))
            if fresh is None or fresh.messages:
                break
    return _sum(summaries, store.url, control)


def preview(spec: PipelineSpec, settings: Settings, scratch: Path, probe: bool) -> plans.Plan:
    """The plan of the range that is left, else of the one that `drain` would read. Writes nothing but to `scratch`.

    Raises `bad_usage`, also where there are no messages.
    """
    store = Store(root_of(spec), settings.storage_patience_s)
    left = ranges.last(store)
    if left and not store.exists(left.done):
        here = Store(store.path(left.folder), settings.storage_patience_s)
    else:
        here = Store(str(scratch / "range"))
        (scratch / "range").mkdir()
        with _joining(spec, store) as group:
            spans = topic.share(group.spans(left, group.ends()), spec.limit)
            blocks = topic.read(group.reader, spans, settings.storage_patience_s, lambda: False)
            with group.answering():
                count = topic.write(blocks, spec.row, here, scratch / "range" / topic.MESSAGES)
        if not count:
            raise WavemillError("bad_usage", f"{spec.source}: {NOTHING}", "source")
    return replace(plans.make(_inner(spec, here), settings, here, scratch, dry=True, probe=probe), spec=spec)


def root_of(spec: PipelineSpec) -> str:
    """Where plan, parts and outputs stand. Raises `bad_usage` for what a drain cannot be."""
    out = spec.out.startswith(KAFKA)
    for name, given in (("shard", spec.shard), ("columns", spec.columns), ("allow-shrink", spec.allow_shrink)):
        if given:
            raise WavemillError("bad_usage", f"--{name} has no meaning where SOURCE is a topic", name)
    if out != bool(spec.work):
        wrong = "OUT is a topic: --work URL says where plan, parts and outputs stand" if out else "--work is for an OUT that is a topic"
        raise WavemillError("bad_usage", wrong, "work")
    return spec.work or spec.out


@contextmanager
def _joining(spec: PipelineSpec, store: Store) -> Iterator[Group]:
    source = Topic.parse(spec.source, "source")
    out = Topic.parse(spec.out, "out") if spec.out.startswith(KAFKA) else None
    try:
        from pipelines.batch.group import Group
    except ImportError:
        raise WavemillError("bad_usage", "Kafka's client is not installed; pip install 'wavemill[kafka]' brings it") from None
    group = Group(source, out, store, str((store.read_object(ranges.ROOT) or {}).get("id", "")), KafkaAccess.here())
    try:
        yield group
    finally:
        group.close()


def _identify(spec: PipelineSpec, group: Group) -> None:
    """What the root is for, fixed by the first drain. Raises `bad_usage` for another."""
    store, source, out = group.store, group.source, group.out
    if store.exists(plans.PLAN) or store.exists(plans.SHARDS):
        raise WavemillError("bad_usage", f"{store.url} holds an ordinary run; give another OUT", "out")
    mine = {"operation": spec.operation, "topic": source.name, "group": source.group, "out": out.name if out else ""}
    store.create(ranges.ROOT, json.dumps({"wavemill": 1, "id": secrets.token_hex(12), **mine}).encode())
    found = store.read_object(ranges.ROOT) or {}
    for name, value in mine.items():
        if found.get(name) != value:
            raise WavemillError("bad_usage", f"{store.url} is for the {name} {found.get(name)!r}, not {value!r}; give another", "out")
    group.id = str(found["id"])


@dataclass(slots=True)
class _Drain:
    """A drain under way."""

    spec: PipelineSpec
    settings: Settings
    progress: runs.Progress
    control: Control
    take_over: bool
    lease: Lease
    store: Store
    group: Group

    def freeze(self, ends: Mapping[int, int]) -> Range | None:
        """Read and store the messages up to `ends`, or as many as `limit` says; None where there is nothing or it was stopped.

        Over a range without a message, which holds but what Kafka writes for itself, the group is moved at once.
        """
        last = ranges.last(self.store)
        spans = topic.share(self.group.spans(last, ends), self.spec.limit)
        if all(span.start >= span.end for span in spans.values()):
            return None
        made = Range(last.number + 1 if last else 1, self.group.source.name, spans)
        inner = self._store(made)
        with temporary_folder() as scratch:
            blocks = topic.read(self.group.reader, spans, self.settings.storage_patience_s, lambda: self.control.reason is not None)
            with self.group.answering():
                made = replace(made, messages=topic.write(blocks, self.spec.row, inner, scratch / topic.MESSAGES))
            if self.control.reason is not None:
                return None
            if not made.messages:
                self.group.deliver(made, (), self.control)
                return made
            inner.upload(scratch / topic.MESSAGES, topic.MESSAGES)
        inner.flush()  # the messages are on the disk before the record that stands for them
        if self.lease.lost.is_set() or not self.store.create(made.record, made.to_json()):
            raise WavemillError("lease_lost", f"another driver took {self.store.url} over")
        return made

    def finish(self, range: Range) -> runs.Summary:
        """Work a range, publish it, and move the group over it; not published when that was stopped before its end."""
        inner, group = self._store(range), self.group
        spec = _inner(self.spec, inner)
        summary = runs.run_into(spec, self.settings, self.progress, self.control, self.take_over)
        if not summary.published:
            return summary
        if self.lease.lost.is_set():
            raise WavemillError("lease_lost", f"another driver took {self.store.url} over")
        with temporary_folder() as scratch:
            from pipelines.batch import outbox

            delivered = group.deliver(range, outbox.answers(spec, group.out, inner, scratch) if group.out else (), self.control)
        if not delivered:
            code = 143 if self.control.reason == "SIGTERM" else 130
            return replace(
                summary, state="interrupted", exit_code=code, published=False, next="the same command again goes on where this stopped"
            )
        self.store.write(range.done, b"{}")
        if group.out:
            summary.out = f"{KAFKA}{group.out.name}"
            summary.next = f"the failures stand in the topic {group.out.failures}, which can be a SOURCE" if summary.failed else ""
        return summary

    def _store(self, range: Range) -> Store:
        return Store(self.store.path(range.folder), self.settings.storage_patience_s)


def _inner(spec: PipelineSpec, store: Store) -> PipelineSpec:
    return spec.model_copy(update={"out": store.url, "work": "", "limit": None})


def _sum(summaries: Sequence[runs.Summary], root: str, control: Control) -> runs.Summary:
    """One account of all that was worked."""
    if not summaries:
        if control.reason is None:
            return runs.Summary("done", 0, root, next=NOTHING)
        return runs.Summary("interrupted", 143 if control.reason == "SIGTERM" else 130, root)
    total, *rest = summaries
    for one in rest:
        worse = one if one.exit_code else total
        total = replace(
            one,
            state=worse.state,
            exit_code=worse.exit_code,
            failed={code: total.failed.get(code, 0) + one.failed.get(code, 0) for code in sorted({*total.failed, *one.failed})},
            **{
                name: getattr(total, name) + getattr(one, name)
                for name in ("rows", "done", "missing", "made", "audio_h", "seconds", "work_seconds", "deaths")
            },
        )
    return total
