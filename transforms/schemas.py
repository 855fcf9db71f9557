"""What others read as JSON: messages, whose models refuse what they do not know, their published schemas, and plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of a message's models: frozen, and without fields of the sender's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def published(schema: dict[str, Any], name: str, version: int = 1) -> dict[str, Any]:
    """A model's JSON Schema as its file publishes it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"wavemill {name}, version {version}"}


def plain(value: Any) -> Any:
    """What JSON has: no infinity, which is what the loudness of silence is."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
