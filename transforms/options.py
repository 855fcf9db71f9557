"""The base of every operation's options: one frozen pydantic model, from which flags, schemas and docs derive."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from transforms.errors import WavemillError, near


def split_commas(value: Any) -> Any:
    """`a,b` as a list; anything else as it is."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(split_commas)]
"""A list of names, written `a,b` on the command line."""

AudioFormat = Literal["mp3", "wav", "flac", "ogg", "opus", "m4a", "aac"]


class Options(BaseModel):
    """Options common to all operations. A subclass adds fields; each has a default and a description."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    seed: int = Field(0, ge=0, description="another take of what is random; the item's identity decides the rest")

    @classmethod
    def takes(cls, name: str) -> bool:
        """Whether a name is one of these options'."""
        return name in cls.model_fields

    @classmethod
    def one_by_one(cls, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values by names of which each stands for one option alone."""
        return values

    @classmethod
    def parse(cls, values: Mapping[str, Any], over: Mapping[str, Any] | None = None) -> Self:
        """Values (strings are converted) as options, those of `over` above the others. Raises `bad_option` naming the field and what is near."""
        values = {**cls.one_by_one(values), **cls.one_by_one(over)} if over else dict(values)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else "options"
            if first["type"] == "extra_forbidden":
                detail = f"{name}: no such option{near(name, cls.model_fields)}"
            else:
                detail = f"{name}: {first['msg'].removeprefix('Value error, ')}, got {str(first['input'])[:80]!r}"
                expected = first.get("ctx", {}).get("expected")
                if expected:
                    detail += near(str(first["input"]), str(expected).replace("'", "").replace(" or ", ", ").split(", "))
            raise WavemillError("bad_option", detail, name) from None

    def canonical(self) -> str:
        """The options that differ from the defaults, as JSON with sorted keys: the part of the identity they make."""
        changed = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(changed, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


class AudioOptions(Options):
    """Options of operations that make audio."""

    format: AudioFormat = Field("mp3", description="container and codec of the output")
    bitrate: int | None = Field(None, ge=8, le=512, description="kbit/s, for lossy formats")
    sample_rate: int | None = Field(None, ge=8000, le=192000, description="output rate in Hz; the engine's when unset")
    channels: Literal["mono", "stereo"] | None = Field(None, description="output channels; the engine's when unset")
    loudness: float | None = Field(None, ge=-70, le=0, description="integrated loudness in LUFS (BS.1770)")
    true_peak: float = Field(-1.0, ge=-20, le=0, description="ceiling in dBTP when loudness is set")


@cache
def plain_type(cls: type[Options], name: str) -> str:
    """`bool`, `int`, `float` or `str`: what a flag for that option takes."""
    kinds = set(_kinds(cls.model_fields[name].annotation))
    return next((kind.__name__ for kind in (bool, int, float) if kind in kinds), "str")


def _kinds(annotation: Any) -> Iterator[Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        yield from map(type, parts)
    elif origin in (Union, UnionType):
        for part in parts:
            yield from _kinds(part)
    elif origin is Annotated:
        yield from _kinds(parts[0])
    else:
        yield annotation
