"""What a stream worker does, apart from how Kafka is reached and where engines run."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms.engine import Engine, engine_class
from transforms.operations import Operation, operation


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One operation from one topic to two. `out` is where outputs, long originals and long fields are kept."""

    operation: str
    engine: str
    options: Mapping[str, Any]
    input: str
    output: str
    failures: str
    group: str
    out: str
    worker: str = ""
    """A name of this worker's own: one that starts again under it ends at once what the last one left open."""
    max_poll: int = 64
    """Most messages of a batch."""
    max_audio_s: float = 600.0
    """Most seconds of audio of a batch of several messages, as far as claims tell; twice as much waits in memory."""
    drain_s: float = 30.0
    """How long a batch under way may take to end when the worker is told to stop."""
    state: str = ""
    """Topic of the sessions' states, for live transcription."""
    idle_s: float = 30.0
    """A live session that says nothing for so long is closed, and then remembered for as long."""
    chance: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def row(self) -> Operation:
        return operation(self.operation)

    @property
    def transactional_id(self) -> str:
        return f"wavemill-{self.group}-{self.worker or self.chance}"

    def new_engine(self) -> Engine:
        return engine_class(self.row.name, self.engine or self.row.default_engine)()
