"""An answer to a conversation: its last message is the item's text, what was said before is in the options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.identity import seed
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Encoded, Item, Piece, Result

VERSION = 1


class Message(BaseModel):
    """What one side said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


def _read(value: Any) -> Any:
    """A JSON text as what it says."""
    if isinstance(value, str):
        try:
            value = json.loads(value or "[]")
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from None
    if not isinstance(value, list | tuple) or not all(isinstance(one, dict | Message) for one in value):
        raise ValueError('is no conversation; write it as [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]')
    return value


Messages = Annotated[
    tuple[Message, ...],
    BeforeValidator(_read),
    Field(description='the conversation so far: a JSON list of {"role": "user" or "assistant", "content": "..."}'),
]


class Options(BaseOptions):
    """Options of every complete engine."""

    system: str = Field("", description="what the model is told about its part")
    messages: Messages = ()
    max_tokens: int = Field(256, ge=1, le=32_768, description="longest answer, in tokens")
    temperature: float = Field(0.0, ge=0, le=2, description="how freely words are chosen; 0 is always the likeliest")


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """The message, whole. Raises `empty_text`, and `text_too_long` for what no engine of this kind could take."""
    text = str(inputs["text"]).strip()
    if not text:
        raise WavemillError("empty_text", "there is nothing to answer", "text")
    if len(text) > engine.max_chars > 0:
        raise WavemillError("text_too_long", f"{len(text)} characters, more than {engine.max_chars}, which {engine.name} can take", "text")
    return [Piece({"text": text}, item.options, seed(item.key))]


def conversation(piece: Piece) -> list[dict[str, str]]:
    """Everything that was said, the system's part first and the piece's text last."""
    options = piece.options
    told = [{"role": "system", "content": options.system}] if options.system else []
    told += [message.model_dump() for message in options.messages]
    return [*told, {"role": "user", "content": str(piece.inputs["text"])}]


def told(fields: Mapping[str, Any], cut: str) -> dict[str, Any]:
    """The fields of an answer; one that is not whole has `finish_reason`, such as `length` for the limit of tokens."""
    return {**fields, **({"finish_reason": cut} if cut else {})}


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """The answer; `tokens` are those of the answer, where the engine counts them, `finish_reason` says why it is not whole."""
    (result,) = results
    text = str(result.fields["text"])
    data = text.encode()
    return Result(dict(result.fields), {"answer": Encoded(data, "txt", hashlib.sha256(data).hexdigest())})
