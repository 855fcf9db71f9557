"""Audio to its stems: voices and what accompanies them, or instrument by instrument. The stems add up to the mix."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from transforms.chunks import join, split
from transforms.options import AudioOptions

__all__ = ["VERSION", "Options", "join", "split"]

VERSION = 1


def _whole_number(value: Any) -> Any:
    """A literal of numbers is not converted from text, and a column of a CSV file is text."""
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else value


Stems = Annotated[Literal[2, 4, 5, 6], BeforeValidator(_whole_number)]


class Options(AudioOptions):
    """Options of every separate engine."""

    stems: Stems = Field(2, description="how many: 2 is vocals and instrumental; which engine has which is its own")
