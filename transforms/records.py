"""The values that flow between steps: items, audio, pieces and outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from transforms.options import Options

KAFKA = "kafka://"
"""What the URL of a topic begins with."""


@dataclass(frozen=True, slots=True)
class Input:
    """One input of an item: a text, or the URI of something to fetch with the version it was planned at."""

    kind: Literal["text", "uri"]
    value: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to do. `key` is its identity (see `transforms.identity`), `id` its name for people."""

    key: str
    id: str
    operation: str
    engine: str
    options: Options
    inputs: Mapping[str, Input]


@dataclass(frozen=True, slots=True)
class Audio:
    """float32 samples of shape (channels, frames) in [-1, 1], at `rate_hz`. Long audio is a memory map.

    `provenance` is the tag of cloned speech that its file carried.
    """

    samples: np.ndarray
    rate_hz: int
    provenance: str = ""

    @property
    def frames(self) -> int:
        return int(self.samples.shape[1])

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def duration_s(self) -> float:
        return self.frames / self.rate_hz


@dataclass(frozen=True, slots=True)
class Piece:
    """What an engine sees: inputs under its limit, the item's options, and a seed for what is random.

    `start_s` is where an audio piece begins in its item; `lead_s` and `pause_s` are the silences before and after a text piece.
    """

    inputs: Mapping[str, str | Audio]
    options: Any
    seed: int
    start_s: float = 0.0
    pause_s: float = 0.0
    lead_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Encoded:
    """One finished output: the file's bytes and what a reader wants to know of it without opening it."""

    data: bytes
    format: str
    sha256: str
    duration_s: float | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """One output as a manifest row names it."""

    name: str
    uri: str
    format: str
    bytes: int
    sha256: str
    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """A success: `fields` are numbers and texts, `outputs` are `Audio`, then `Encoded`, then `Stored`, by name."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Seconds of audio that it stands for: as its fields say, else those of its outputs together."""
        if "duration_s" in self.fields:
            return float(self.fields["duration_s"])
        return sum(output.duration_s or 0.0 for output in self.outputs.values())


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as data, with a code of `transforms.errors.CODES`."""

    code: str
    detail: str
    field: str | None = None


Outcome = Result | Failure


@dataclass(frozen=True, slots=True)
class Work:
    """An item on its way: `payload` is what the last step made of it."""

    item: Item
    payload: Any
