"""Three hours of sound into every engine that hears: pieces that it can hold, or a typed refusal; and what docs/limits.md says of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transforms.engine import ENGINES, Engine, engine_class
from transforms.errors import CODES, WavemillError
from transforms.operations import OPERATIONS, operation
from transforms.records import Audio, Input, Item

SECONDS = 3 * 3600
LIMITS = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
WHOLE = ("convert", "embed")
"""What is heard whole: convert's steps go over it by blocks, and of a reference no more than ten minutes are taken."""
AT_PAUSES = ("transcribe", "convert_voice", "restyle", "translate")
"""What is cut at its pauses, which would have to be looked for."""


def hearing() -> Iterator[Any]:
    """All but those that are cut at pauses, and a turn of a conversation."""
    for name, engines in ENGINES.items():
        if "audio" in operation(name).inputs and name not in (*AT_PAUSES, "chat"):
            yield from (pytest.param(engine_class(name, engine), id=f"{name}-{engine}") for engine in engines)


def three_hours(cls: type[Engine]) -> Audio:
    """As many samples as there would be, all in the same place of memory."""
    rate_hz, channels = cls.rate_hz or 44100, cls.channels or 2
    return Audio(np.broadcast_to(np.float32(0.1), (channels, SECONDS * rate_hz)), rate_hz)


@pytest.mark.parametrize("cls", list(hearing()))
def test_three_hours_are_cut_into_views_that_are_no_longer_than_the_engine_can_hold(cls: type[Engine]) -> None:
    audio = three_hours(cls)
    item = Item("0" * 64, "a", cls.operation, cls.name, cls.Options(), {"audio": Input("uri", "a.wav")})
    pieces = operation(cls.operation).module.split(item, {"audio": audio}, cls())
    heard = [piece.inputs["audio"] for piece in pieces]
    assert all(isinstance(one, Audio) and np.shares_memory(one.samples, audio.samples) for one in heard)
    longest_s = max(one.duration_s for one in heard if isinstance(one, Audio))
    assert longest_s == SECONDS if cls.operation in WHOLE else 0 < longest_s <= cls.max_s <= 600
    assert f"{cls.max_s:g} s" in LIMITS or cls.operation in WHOLE


def test_three_hours_are_no_turn_of_a_conversation() -> None:
    cls = engine_class("chat", "cascade")
    item = Item("0" * 64, "a", "chat", cls.name, cls.Options(), {"audio": Input("uri", "a.wav")})
    with pytest.raises(WavemillError) as caught:
        operation("chat").module.split(item, {"audio": three_hours(cls)}, cls())
    assert (caught.value.code, caught.value.field) == ("audio_too_long", "audio")


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_the_limits_of_every_operation_are_written_down(name: str) -> None:
    assert f"| {name.replace('_', '-')} " in LIMITS


def test_the_codes_that_limits_have_are_those_of_the_table() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", LIMITS))
    assert {"audio_too_long", "audio_too_large", "text_too_long", "bad_reference"} <= named <= set(CODES)
