"""What to run, apart from where it runs (`transforms.settings`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from transforms.choosing import settle
from transforms.engine import Engine, engine_class
from transforms.errors import WavemillError, near
from transforms.operations import Operation, operation
from transforms.options import Options
from transforms.records import KAFKA
from transforms.settings import Settings


class PipelineSpec(BaseModel):
    """One run over one SOURCE into one OUT. The same fields in a YAML file (`--spec`) and as flags."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: str
    source: str = Field(min_length=1)
    out: str = Field(min_length=1)
    engine: str = ""
    options: dict[str, Any] = Field(default_factory=dict)
    columns: dict[str, str] = Field(default_factory=dict, description="input or option = the manifest's column for it")
    split: Literal["line", "paragraph", "file"] = "line"
    limit: int | None = Field(None, ge=1)
    shard: tuple[int, int] | None = None
    work: str = Field("", description="where plan, parts and blobs stand when OUT is a topic")
    unit_items: int = Field(200, ge=1, le=100_000)
    max_failures: str = "0%"
    fail_fast: bool = False
    allow_shrink: bool = False
    check_inputs: bool = False

    @field_validator("shard", mode="before")
    @classmethod
    def _parse_shard(cls, value: Any) -> Any:
        if isinstance(value, str):
            index, _, count = value.partition("/")
            if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
                raise ValueError("must be i/n with 0 <= i < n, as in 0/4")
            return (int(index), int(count))
        if isinstance(value, list | tuple) and not (len(value) == 2 and 0 <= int(value[0]) < int(value[1])):
            raise ValueError("must be [i, n] with 0 <= i < n, as in [0, 4]")
        return value

    @field_validator("max_failures", mode="before")
    @classmethod
    def _parse_limit(cls, value: Any) -> str:
        text = str(value).strip()
        number = text[:-1] if text.endswith("%") else text
        if not number.replace(".", "", 1).isdigit():
            raise ValueError("must be a count as 10 or a share as 1%")
        return text

    @classmethod
    def parse(cls, values: dict[str, Any], file: str | None = None) -> Self:
        """The spec from a YAML file (when given) and values that override it. Raises `bad_usage` naming the field."""
        merged = read_file(file) if file else {}
        for name, value in values.items():
            under = merged.get(name)
            merged[name] = {**under, **value} if isinstance(value, dict) and isinstance(under, dict) else value
        try:
            return cls.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            unknown = first["type"] == "extra_forbidden"
            message = f"no such field{near(where, cls.model_fields)}" if unknown else first["msg"]
            raise WavemillError("bad_usage", f"{where}: {message}", where) from None

    @property
    def drains(self) -> bool:
        """Whether SOURCE is a topic."""
        return self.source.startswith(KAFKA)

    @property
    def row(self) -> Operation:
        return operation(self.operation)

    @property
    def engine_name(self) -> str:
        return self.engine or self.row.default_engine

    def settled(self, settings: Settings) -> tuple[Self, str]:
        """The spec with the engine that it means, and for people why, where that is neither the default nor the one it names.

        Raises as `transforms.choosing.settle`.
        """

        def held() -> str:
            from pipelines.batch import plan

            return plan.engine_of(self, settings)

        choice = settle(self.row.name, self.engine, self.options, held)
        if choice.engine == self.engine_name:
            return self, ""
        return self.model_copy(update={"engine": choice.engine, "options": choice.options}), choice.why

    def new_engine(self) -> Engine:
        """The engine, not loaded. Raises `bad_usage` for an unknown operation, `model_unavailable` for an engine."""
        return engine_class(self.row.name, self.engine_name)()

    def parse_options(self, engine: Engine) -> Options:
        """The run's own options, before any row's. Raises `bad_usage` naming the option and what is near."""
        try:
            return engine.Options.parse(self.options)
        except WavemillError as error:
            raise WavemillError("bad_usage", error.detail, error.field) from None

    def allows(self, failures: int, rows: int) -> bool:
        """Whether so many failed rows of so many are within `max_failures`."""
        if self.max_failures.endswith("%"):
            return failures <= rows * float(self.max_failures[:-1]) / 100
        return failures <= float(self.max_failures)


def read_file(file: str) -> dict[str, Any]:
    """The fields that a YAML file gives. Raises `bad_usage`."""
    try:
        found = yaml.safe_load(Path(file).read_text()) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WavemillError("bad_usage", f"--spec {file}: {error}") from None
    if not isinstance(found, dict):
        raise WavemillError("bad_usage", f"--spec {file}: must be a mapping of fields")
    return {str(name): value for name, value in found.items() if value is not None}
