"""What a live session says, as messages: `live.schema.json` is their schema."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from transforms import live


class Heard(BaseModel):
    """A stretch of a session's speech. A final text stands for good; a partial one until the session's next message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Heard.model_json_schema(), "title": "wavemill live, version 1"}


def encode(session: str, message: live.Message, language: str | None) -> bytes:
    return Heard(session=session, language=language, **message._asdict()).model_dump_json().encode()
