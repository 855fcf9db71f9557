"""Claims: the messages that ask for work. They name audio by URI, or hold a little of it; `claim.schema.json` is their schema."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Base64Bytes, BaseModel, Field, JsonValue, ValidationError

from transforms import storage
from transforms.errors import WavemillError, near
from transforms.operations import Operation
from transforms.records import Input
from transforms.schemas import Strict, published

INLINE_BYTES = 512 << 10
"""Most audio in a message; brokers take a megabyte unless told otherwise, and base64 is a third longer."""
INLINE = "memory://wavemill-inline/"
"""Where inline audio stands while it is worked: named by its digest, so that equal audio is one input."""
CHARS_A_SECOND = 15.0
BYTES_A_SECOND = 16_000.0
UNKNOWN_S = 30.0
ID_LETTERS = 1_024
CARRIED_BYTES = 64 << 10
"""Most bytes of a message's key and headers together: they go with its reply, which must not be too long for a topic."""


class TextInput(Strict):
    text: str


class Reference(Strict):
    uri: str = Field(min_length=1, description="absolute path or URL")
    version: str = Field("", description="ETag, or sha256:HEX; what is found must be of this version")


class Inline(Strict):
    data: Base64Bytes = Field(description=f"the file's bytes in base64, at most {INLINE_BYTES} of them")


class Claim(Strict):
    """One thing to do. A plain string is the text of a text input, the URI of an audio input."""

    version: Literal[1] = Field(description="of this schema")
    id: str = Field("", max_length=ID_LETTERS, description="a name for people, carried through")
    inputs: dict[str, str | TextInput | Reference | Inline] = Field(min_length=1, description="by name, as the operation has them")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="over those that the worker was started with")
    duration_s: float | None = Field(None, gt=0, description="length of the audio where it is known: work is shared out by it")


@dataclass(frozen=True, slots=True)
class Request:
    """A claim as the steps take it; `inline` is audio by its URI, there while the item is worked (see `held`)."""

    id: str
    inputs: Mapping[str, Input]
    options: Mapping[str, Any]
    inline: Mapping[str, bytes] = field(default_factory=dict)


def schema() -> dict[str, Any]:
    """The JSON Schema of a claim, as `claim.schema.json` publishes it."""
    return published(Claim.model_json_schema(), "claim")


def parse(value: bytes | None) -> Claim:
    """The claim in a message. Raises `bad_message` saying what is wrong with it."""
    try:
        return Claim.model_validate_json(value or b"")
    except ValidationError as error:
        raise broken(error) from None


def require_carried(key: bytes | None, headers: Sequence[tuple[str, bytes]]) -> None:
    """Raises `bad_message` where key and headers are too long to go with a reply."""
    found = carried_bytes(key, headers)
    if found > CARRIED_BYTES:
        raise WavemillError("bad_message", f"key and headers are {found} bytes, more than {CARRIED_BYTES}; they are left out here")


def carried(key: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> tuple[bytes | None, tuple[tuple[str, bytes], ...]]:
    """Key and headers of a reply: those of the message, or none where they are too long."""
    return (key, headers) if carried_bytes(key, headers) <= CARRIED_BYTES else (None, ())


def carried_bytes(key: bytes | None, headers: Sequence[tuple[str, bytes]]) -> int:
    return len(key or b"") + sum(len(name.encode()) + len(value) for name, value in headers)


def broken(error: ValidationError) -> WavemillError:
    """`bad_message` with the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return WavemillError("bad_message", f"{where}: {first['msg']}" if where else first["msg"], where or None)


class _Failed(BaseModel):
    """What of a failure of ours (`sinks/reply.schema.json`) is needed to try its message again."""

    version: Literal[1]
    status: Literal["failed"]
    original: Base64Bytes | None = None
    original_uri: str | None = None


def original(value: bytes | None) -> bytes | None:
    """A message, or where it is a failure of ours the message that failed: so a topic of failures can be tried again.

    Raises `input_not_found`, `input_forbidden` or `input_unavailable` where a long one is kept elsewhere.
    """
    value, uri = unwrap(value)
    if uri is None:
        return value
    with storage.open_input(uri) as opened:
        return opened.file.read()


def unwrap(value: bytes | None) -> tuple[bytes | None, str | None]:
    """As `original`, with the URI of one that is kept elsewhere, which is not read."""
    if value is None or b'"failed"' not in value:
        return value, None
    try:
        failed = _Failed.model_validate_json(value)
    except ValidationError:
        return value, None
    return failed.original, failed.original_uri


def request(claim: Claim, row: Operation) -> Request:
    """The claim as inputs of an operation. Raises `bad_message` naming the input, or `audio_too_large`."""
    for name in claim.inputs:
        if name not in row.inputs:
            raise WavemillError("bad_message", f"{row.name} has no input {name!r}{near(name, row.inputs)}", name)
    missing = [name for name in row.inputs if name not in claim.inputs and name not in row.optional]
    if missing:
        raise WavemillError("bad_message", f"{row.name} needs the input {missing[0]!r}", missing[0])
    inline: dict[str, bytes] = {}
    inputs = {name: _input(name, given, row.inputs[name], inline) for name, given in claim.inputs.items()}
    return Request(claim.id, inputs, claim.options, inline)


def _input(name: str, given: str | TextInput | Reference | Inline, kind: str, inline: dict[str, bytes]) -> Input:
    if isinstance(given, str):
        given = TextInput(text=given) if kind == "text" else Reference(uri=given)
    if isinstance(given, TextInput):
        if kind != "text":
            raise WavemillError("bad_message", f"{name} is {kind}, not text", name)
        return Input("text", given.text)
    if isinstance(given, Inline):
        if len(given.data) > INLINE_BYTES:
            raise WavemillError("audio_too_large", f"{name}: {len(given.data)} bytes inline, more than {INLINE_BYTES}; give a URI", name)
        uri = f"{INLINE}{hashlib.sha256(given.data).hexdigest()}"
        inline[uri] = given.data
        return Input("uri", uri)
    if "://" not in given.uri and not given.uri.startswith("/"):
        raise WavemillError("bad_message", f"{name}: {given.uri!r} is relative; a message has no folder", name)
    return Input("uri", storage.canonical(given.uri), given.version)


def hold(inline: Mapping[str, bytes]) -> None:
    """Put inline audio where `storage.open_input` finds it, until `drop`."""
    for uri, data in inline.items():
        storage.filesystem(uri).pipe_file(uri, data)


def drop(inline: Mapping[str, bytes]) -> None:
    for uri in inline:
        storage.filesystem(uri).rm(uri)


def length_s(claim: Claim, row: Operation) -> float:
    """Seconds of audio that the claim stands for, as far as a look at it tells: for sharing out work and memory, nothing else."""
    if row.unit == "char":
        given = claim.inputs.get(row.main_input)
        text = given if isinstance(given, str) else given.text if isinstance(given, TextInput) else ""
        return len(text) / CHARS_A_SECOND
    if claim.duration_s is not None:
        return claim.duration_s
    held = sum(len(given.data) for given in claim.inputs.values() if isinstance(given, Inline))
    return held / BYTES_A_SECOND if held else UNKNOWN_S
