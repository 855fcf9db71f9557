"""Flags that derive from the option models of an operation's engines."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click

from transforms.engine import TEST_DOUBLE, engine_class, engines
from transforms.errors import near
from transforms.operations import Operation
from transforms.options import plain_type

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

TYPES: dict[str, Any] = {"int": click.INT, "float": click.FLOAT, "str": click.STRING}
PREFIX = "option_"


class Pair(click.ParamType[tuple[str, str]]):
    """`key=value`, as a tuple."""

    name = "key=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, rest = str(value).partition("=")
        if not (equals and key):
            self.fail(f"{value!r} is not of the form key=value", param, ctx)
        return key.strip(), rest


def engine_flags(row: Operation) -> list[click.Parameter]:
    """`-e`, `-O` and a flag for each option that any engine of the operation has."""
    named = ", ".join(name for name in engines(row.name) if name != TEST_DOUBLE)
    return [
        click.Option(
            ["-e", "--engine"], help=f"One of {named}, or the name of a model; {row.default_engine}, or what has the language, when unset."
        ),
        click.Option(["-O", "pairs"], type=Pair(), multiple=True, help="An option by name; the same as its flag."),
        *_option_flags(row),
    ]


def collect_options(row: Operation, params: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, by flag or by `-O`. Raises `UsageError` for a name that no engine has."""
    given = {name.removeprefix(PREFIX): value for name, value in params.items() if name.startswith(PREFIX) and value is not None}
    known = {name for name, _, _ in _fields(row)}
    for key, value in params["pairs"]:
        name = key.replace("-", "_")
        if name not in known and not any(engine_class(row.name, engine).Options.takes(name) for engine in engines(row.name)):
            raise click.UsageError(f"-O {key}: no engine of {row.name} has such an option{near(name, known)}")
        given[name] = value
    return given


def _fields(row: Operation) -> Iterator[tuple[str, list[tuple[str, FieldInfo]], str]]:
    """Each option's name, the engines that have it with its field there, and its plain type."""
    found: dict[str, list[tuple[str, FieldInfo]]] = {}
    kinds: dict[str, str] = {}
    for engine in engines(row.name):
        model = engine_class(row.name, engine).Options
        for name, field in model.model_fields.items():
            found.setdefault(name, []).append((engine, field))
            kinds.setdefault(name, plain_type(model, name))
    for name, owners in found.items():
        yield name, owners, kinds[name]


def _option_flags(row: Operation) -> Iterator[click.Parameter]:
    count = len({*engines(row.name), TEST_DOUBLE})
    for name, owners, kind in _fields(row):
        flag = f"--{name.replace('_', '-')}"
        names = [engine for engine, _ in owners]
        field = next((field for engine, field in owners if engine == row.default_engine), owners[0][1])
        notes = _notes(field) + ([f"only {', '.join(names)}"] if len({*names, TEST_DOUBLE}) < count else [])
        said = (field.description or "").rstrip(".")
        help = f"{said[:1].upper()}{said[1:]}." + (f"  [{'; '.join(notes)}]" if notes else "")
        hidden = names == [TEST_DOUBLE]
        if kind == "bool":
            yield click.Option([f"{flag}/--no-{flag[2:]}", PREFIX + name], default=None, help=help, hidden=hidden)
        else:
            choices = dict.fromkeys(choice for _, field in owners for choice in _choices(field.annotation))
            metavar = f"[{'|'.join(choices)}]" if choices else None
            yield click.Option([flag, PREFIX + name], type=TYPES[kind], metavar=metavar, help=help, hidden=hidden)


def _notes(field: FieldInfo) -> list[str]:
    """Its range and its default, where it has them."""

    def bound(*kinds: str) -> Any:
        return next((found for part in field.metadata for kind in kinds if (found := getattr(part, kind, None)) is not None), None)

    low, high = bound("ge", "gt"), bound("le", "lt")
    notes = []
    if low is not None:
        notes.append(f"{low} to {high}" if high is not None else f"at least {low}")
    default = field.get_default(call_default_factory=True)
    if isinstance(default, bool):
        notes.append("on" if default else "off")
    elif default not in (None, "", (), [], {}):
        notes.append(f"default {default}")
    return notes


def _choices(annotation: Any) -> Sequence[str]:
    """The values of a `Literal`, also inside an optional one."""
    origin = get_origin(annotation)
    if origin is Literal:
        return [str(value) for value in get_args(annotation)]
    if origin in (Union, types.UnionType, Annotated):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return []
