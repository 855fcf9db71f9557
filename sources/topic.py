"""A topic as a bounded SOURCE: `kafka://TOPIC?group=G`, read once from where the group stands to its end, and stored.

What was read is kept as `MESSAGES`: each message as it came, and the row that a manifest would have for it. From there on it
is a source like any other, however often a run goes on with it, and whatever Kafka has dropped since.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from sources import claims, manifest
from transforms.errors import WavemillError, near
from transforms.operations import Operation
from transforms.storage import SHA256
from transforms.store import Store

if TYPE_CHECKING:
    from sources.kafka import Message, TopicReader

MESSAGES = "messages.parquet"
SCHEMA = pa.schema(
    [
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("key", pa.binary()),
        ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
        ("value", pa.binary()),
        *manifest.SCHEMA,
    ],
    metadata={"wavemill.messages": "1"},
)
BLOCK_MESSAGES, BLOCK_BYTES = 1_000, 16 << 20
POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's URL; of a SOURCE `group` is given, of an OUT `failures`, the topic for failures (the same when unset)."""

    name: str
    group: str = ""
    failures: str = ""

    @staticmethod
    def parse(url: str, field: str) -> Topic:
        """Raises `bad_usage` naming `field`."""
        given = urlsplit(url)
        wanted = {"source": "group", "out": "failures"}[field]
        query = dict(parse_qsl(given.query, keep_blank_values=True))
        for name in query:
            if name != wanted:
                raise WavemillError("bad_usage", f"{url}: no such field {name!r}{near(name, [wanted])}", field)
        if not given.netloc or given.path.strip("/"):
            raise WavemillError(
                "bad_usage", f"{url}: must be kafka://TOPIC?{wanted}=NAME; KAFKA_BOOTSTRAP_SERVERS names the brokers", field
            )
        if field == "source" and not query.get("group"):
            raise WavemillError("bad_usage", f"{url}: whose offsets? give kafka://{given.netloc}?group=NAME", field)
        return Topic(given.netloc, query.get("group", ""), query.get("failures") or given.netloc)


class Span(NamedTuple):
    """Offsets of one partition, without `end`."""

    start: int
    end: int


def share(spans: Mapping[int, Span], most: int | None) -> dict[int, Span]:
    """The spans cut to at most `most` offsets together, taken from all partitions alike."""
    if most is None:
        return dict(spans)
    cut: dict[int, Span] = {}
    left = most
    widths = sorted(spans, key=lambda number: spans[number].end - spans[number].start)
    for index, number in enumerate(widths):
        start, end = spans[number]
        taken = min(end - start, -(-left // (len(widths) - index)))
        cut[number] = Span(start, start + taken)
        left -= taken
    return dict(sorted(cut.items()))


def read(reader: TopicReader, spans: Mapping[int, Span], patience_s: float, stopped: Callable[[], bool]) -> Iterator[list[Message]]:
    """The messages of the spans, a block at a time, by partition and offset; ends early when `stopped`.

    Raises `broker_unavailable` when nothing comes for `patience_s`, and KafkaError.
    """
    for number, span in spans.items():
        home = reader.home(number)
        if span.start >= span.end:
            continue
        reader.take(home, span.start)
        position, heard_s = span.start, time.monotonic()
        while position < span.end and not stopped():
            found = [one for one in reader.poll(POLL_S) if one.home == home and position <= one.offset < span.end]
            if found:
                yield found
            now = reader.position(home)
            if now > position:
                position, heard_s = now, time.monotonic()
            elif time.monotonic() - heard_s > patience_s:
                raise WavemillError("broker_unavailable", f"{reader.topic}: nothing of partition {number} from offset {position} comes")


def write(blocks: Iterable[list[Message]], operation: Operation, store: Store, target: Path) -> int:
    """Write messages and their rows to the file `target`, inline audio to `store`; how many there are.

    Raises what is not a message's own fault: `input_unavailable` where an original is kept elsewhere.
    """
    count, pending, held = 0, list[dict[str, object]](), 0
    with pq.ParquetWriter(target, SCHEMA, compression="zstd") as file:

        def flush() -> None:
            file.write_table(pa.Table.from_pylist(pending, schema=SCHEMA))
            pending.clear()

        for block in blocks:
            for message in block:
                entry = _entry(message, operation, store)
                pending.append(entry)
                held += len(message.value or b"")
                count += 1
                if len(pending) >= BLOCK_MESSAGES or held > BLOCK_BYTES:
                    flush()
                    held = 0
        if pending:
            flush()
    return count


def _entry(message: Message, operation: Operation, store: Store) -> dict[str, object]:
    entry: dict[str, object] = {
        "partition": message.partition,
        "offset": message.offset,
        "key": message.key,
        "headers": [{"name": name, "value": value} for name, value in message.headers],
        "value": message.value,
    }
    row: dict[str, object] = {"id": f"{message.topic}-{message.partition}-{message.offset}"}
    try:
        claims.require_carried(message.key, message.headers)
        entry["value"] = value = claims.original(message.value)
        text = json.dumps(row | _row(value, operation, store), ensure_ascii=False)
        if len(text) > manifest.LONGEST_ROW:
            raise WavemillError("bad_message", f"the claim is {len(text)} characters long, more than {manifest.LONGEST_ROW}")
        return {**entry, "row": text, "problem": None}
    except WavemillError as error:
        if error.kind != "item":
            raise
        return {**entry, "row": json.dumps(row | {"refused": error.code, "refused_field": error.field}), "problem": error.detail}


def _row(value: bytes | None, operation: Operation, store: Store) -> dict[str, object]:
    """The row of a claim. Its options stand together, for unlike a manifest's columns every one of them is meant to be used."""
    claim = claims.parse(value)
    request = claims.request(claim, operation)
    row: dict[str, object] = {"claim": request.id} if request.id else {}
    versions = {}
    for name, given in request.inputs.items():
        uri, version = given.value, given.version
        if uri in request.inline:
            digest = uri.removeprefix(claims.INLINE)
            file = f"inputs/{digest[:2]}/{digest}"
            store.write(file, request.inline[uri])
            uri, version = store.path(file), f"{SHA256}{digest}"
        row[name] = uri
        if version:
            versions[name] = version
    row["options"] = dict(sorted(request.options.items()))
    if versions:
        row["versions"] = versions
    if claim.duration_s or request.inline:
        row["duration_s"] = claims.length_s(claim, operation)
    return row


def rows(path: Path) -> Iterator[pa.RecordBatch]:
    """The stored messages as a source's rows."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(BLOCK_MESSAGES, columns=manifest.SCHEMA.names)


def messages(path: Path, topic: str) -> Iterator[Message]:
    """The stored messages as they came."""
    from sources.kafka import Message

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BLOCK_MESSAGES, columns=SCHEMA.names[:5]):
            for row in batch.to_pylist():
                headers = tuple((one["name"], one["value"]) for one in row["headers"])
                yield Message(topic, row["partition"], row["offset"], row["key"], row["value"], headers)
