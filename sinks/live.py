"""What a live session says, as messages: `live.schema.json` is their schema."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from transforms import live
from transforms.schemas import Strict, published


class Heard(Strict):
    """A stretch of a session's speech. A final text stands for good; a partial one until the session's next message."""

    version: Literal[1] = 1
    session: str
    seq: int = Field(description="the last chunk that this rests on")
    kind: Literal["partial", "final"]
    start_s: float = Field(description="seconds from the session's start")
    end_s: float
    text: str
    revision: int = Field(description="1, 2, 3 and so on in a session: nothing is lost or doubled where none is missing or comes twice")
    language: str | None = Field(description="code of the language, once something is final")


def schema() -> dict[str, Any]:
    """The JSON Schema of what is heard, as `live.schema.json` publishes it."""
    return published(Heard.model_json_schema(), "live")


def encode(session: str, message: live.Message, language: str | None) -> bytes:
    return Heard(session=session, language=language, **message._asdict()).model_dump_json().encode()
