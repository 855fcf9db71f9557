"""Outcomes as messages: what stands in an output topic and in a failures topic. `reply.schema.json` is their schema."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Base64Bytes, Field, JsonValue, TypeAdapter

from transforms.records import Failure, Item, Result, Stored
from transforms.schemas import Strict, plain, published
from transforms.store import Store

ORIGINAL_BYTES = 256 << 10
"""Most bytes of an original that a failure holds itself."""
REPLY_BYTES = 900_000
"""Most bytes of a message of ours without key and headers; brokers take a megabyte unless told otherwise."""
DETAIL_LETTERS, FIELD_LETTERS = 4_096, 256


class Place(Strict):
    """Where the message stood that this answers: no two outcomes answer the same."""

    topic: str
    partition: int
    offset: int


class Output(Strict):
    name: str
    uri: str
    format: str
    bytes: int
    sha256: str
    duration_s: float | None


class Done(Strict):
    """A result. `fields` may stand in the output of that name when they are too long for a message."""

    version: Literal[1] = 1
    status: Literal["done"] = "done"
    source: Place
    id: str
    key: str = Field(description="identity of the item: equal messages have equal keys, and the same outputs")
    operation: str
    engine: str
    fields: dict[str, JsonValue] = Field(description="numbers and texts, as the operation has them")
    outputs: list[Output]


class Failed(Strict):
    """An item that cannot be done, or a message that is no claim. The original is here in base64, or in a blob when it is long."""

    version: Literal[1] = 1
    status: Literal["failed"] = "failed"
    source: Place
    id: str = ""
    key: str = Field("", description="empty when the message was no claim")
    operation: str
    engine: str
    code: str
    detail: str
    field: str | None = None
    original: Base64Bytes | None = None
    original_uri: str | None = None


Reply = Annotated[Done | Failed, Field(discriminator="status")]
REPLY: TypeAdapter[Done | Failed] = TypeAdapter(Reply)


def schema() -> dict[str, Any]:
    """The JSON Schema of an outcome's message, as `reply.schema.json` publishes it."""
    return published(REPLY.json_schema(), "reply")


def done(place: Place, item: Item, result: Result, store: Store) -> bytes:
    """The message of a result whose outputs are `Stored`; URIs are absolute."""
    fields = {name: plain(value) for name, value in result.fields.items()}
    outputs = [_output(stored, store) for stored in result.outputs.values()]

    def encode(fields: dict[str, JsonValue], outputs: list[Output]) -> bytes:
        made = Done(source=place, id=item.id, key=item.key, operation=item.operation, engine=item.engine, fields=fields, outputs=outputs)
        return made.model_dump_json().encode()

    data = encode(fields, outputs)
    if len(data) > REPLY_BYTES:
        long = json.dumps(fields, ensure_ascii=False).encode()
        digest = hashlib.sha256(long).hexdigest()
        name = f"blobs/{item.key[:2]}/{item.key}-{digest[:12]}.json"
        store.write(name, long)
        data = encode(
            {}, [*outputs, Output(name="fields", uri=store.path(name), format="json", bytes=len(long), sha256=digest, duration_s=None)]
        )
    return data


def failed(place: Place, id: str, key: str, operation: str, engine: str, failure: Failure, original: bytes | None, store: Store) -> bytes:
    """The message of a failure; a long original is written to the store."""
    uri = None
    if original is not None and len(original) > ORIGINAL_BYTES:
        digest = hashlib.sha256(original).hexdigest()
        name = f"originals/{digest[:2]}/{digest}"
        store.write(name, original)
        uri, original = store.path(name), None
    whole = Failed(
        source=place,
        id=id,
        key=key,
        operation=operation,
        engine=engine,
        code=failure.code,
        detail=failure.detail[:DETAIL_LETTERS],
        field=failure.field and failure.field[:FIELD_LETTERS],
        original=None if original is None else base64.b64encode(original),
        original_uri=uri,
    )
    return whole.model_dump_json().encode()


def _output(stored: Stored, store: Store) -> Output:
    return Output(
        name=stored.name, uri=store.path(stored.uri), format=stored.format, bytes=stored.bytes, sha256=stored.sha256, duration_s=stored.duration_s
    )  # fmt: skip
