"""Who an item is: the digest that names its blobs and decides what a resumed run has left to do.

The same rule is written twice, here and in SQL for millions of rows (`pipelines/batch/plan.py`); a property test holds
them together. Fields are joined by the unit separator U+001F, which a canonical JSON text never holds unescaped.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping

from transforms.engine import Engine
from transforms.operations import operation
from transforms.options import Options
from transforms.records import Input

SEPARATOR = "\x1f"
STEPS_VERSION = 1
"""Version of what stands around every engine: loudness and encoding."""


def text_digest(text: str) -> str:
    """SHA-256 of the NFC UTF-8 of a text, in hex."""
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode()).hexdigest()


def prefix(engine: Engine, options: Options) -> str:
    """The part of the identity that all items with this engine and these options share."""
    steps = f"{STEPS_VERSION}.{operation(engine.operation).module.VERSION}"
    return SEPARATOR.join(
        ("wavemill-1", engine.operation, engine.name, str(engine.version), engine.weights(options), steps, options.canonical())
    )


def input_identity(value: Input) -> str:
    """The identity of one input: of a text its digest, of a URI the URI and its version."""
    return text_digest(value.value) if value.kind == "text" else f"{value.value}{SEPARATOR}{value.version}"


def key(shared: str, inputs: Mapping[str, Input]) -> str:
    """The item's key, 64 hex digits, from `prefix(...)` and its inputs in the order of their names."""
    fields = [shared]
    for name in sorted(inputs):
        fields += (name, inputs[name].kind, input_identity(inputs[name]))
    return hashlib.sha256(SEPARATOR.join(fields).encode()).hexdigest()


def seed(key: str, extra: int = 0) -> int:
    """A 64-bit seed from an item's key (which already holds its `seed` option) and the index of a piece."""
    return int.from_bytes(hashlib.sha256(f"{key}{SEPARATOR}{extra}".encode()).digest()[:8], "big")
