"""What a drain writes to a topic: for each message of a range the reply that a stream would give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.batch import publish as publishing, snapshot as snapshots
from pipelines.batch.group import Answer
from pipelines.spec import PipelineSpec
from sinks import blobs, parts, replies
from sinks.kafka import Record
from sources import claims, topic
from sources.kafka import Message
from sources.topic import Topic
from transforms.options import Options
from transforms.records import Failure, Item
from transforms.store import Store

ROWS = 256


def answers(spec: PipelineSpec, out: Topic, store: Store, scratch: Path) -> Iterator[Answer]:
    """The messages of a published range in order, each with its reply; long originals and fields are written to `store`."""
    (path,) = store.fetch([topic.MESSAGES], scratch)
    with snapshots.connect(scratch) as con:
        publishing.open_outcomes(con, store, scratch)
        columns = "id, key, status, outputs, duration_s, text, language, code, detail, fields, input"
        rows = (
            row for batch in con.sql(f"SELECT {columns} FROM outcomes ORDER BY index").to_arrow_reader(ROWS) for row in batch.to_pylist()
        )
        source = Topic.parse(spec.source, "source").name
        for message, row in zip(topic.messages(path, source), rows, strict=True):
            yield message, _reply(spec, out, store, message, row)


def _reply(spec: PipelineSpec, out: Topic, store: Store, message: Message, row: dict[str, Any]) -> Record:
    place = replies.Place(topic=message.topic, partition=message.partition, offset=message.offset)
    name = json.loads(row["input"]).get("claim") or (row["id"] if row["key"] else "")
    key, headers = claims.carried(message.key, message.headers)
    outcome = parts.decode({**row, "outputs": [{**one, "uri": blobs.within(one["uri"])} for one in row["outputs"] or ()]})
    if isinstance(outcome, Failure):
        value = replies.failed(place, name, row["key"] or "", spec.operation, spec.engine_name, outcome, message.value, store)
        return Record(out.failures, key, value, headers)
    item = Item(row["key"], name, spec.operation, spec.engine_name, Options(), {})
    return Record(out.name, key, replies.done(place, item, outcome, store), headers)
