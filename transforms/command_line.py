"""What every command has in common: found only when called, near names for wrong ones, and numbers written for people."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any

import click

from transforms.errors import WavemillError

if TYPE_CHECKING:
    from transforms.settings import Settings


CLEAR = "\r\033[K"
"""Takes away what was drawn on the terminal's last line."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A subcommand that is imported when it is called; `help` stands in its group's list. `target` is `module:attribute`.

    When `argument` is given the attribute is a function that makes the command from it.
    """

    help: str
    target: str
    argument: Any = None

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        command: click.Command = found if self.argument is None else found(self.argument)
        return command


class Lazy(click.Group):
    """A group of mounts: heading -> name -> mount. Listing them imports none."""

    def __init__(self, *args: Any, mounts: Mapping[str, Mapping[str, Mount]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mounts = mounts
        self.by_name = {name: mount for section in mounts.values() for name, mount in section.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        mount = self.by_name.get(cmd_name.replace("_", "-"))
        return mount.load() if mount else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=self.by_name, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, section in self.mounts.items():
            with formatter.section(heading):
                formatter.write_dl([(name, mount.help) for name, mount in section.items()])


def new_settings(**overrides: Any) -> Settings:
    """Settings from the environment and the flags that were given. Raises `bad_usage` naming the variable or flag."""
    from pydantic import ValidationError

    from transforms.settings import Settings

    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        where = f"--{name}" if name in given else f"WAVEMILL_{name.upper()}"
        raise WavemillError("bad_usage", f"{where}: {first['msg']}, got {first['input']!r}", name) from None


def say(text: str = "") -> None:
    """A line for people, on standard error: standard output is for what was asked for."""
    click.echo(f"{CLEAR}{text}" if sys.stderr.isatty() else text, err=True)


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows in aligned columns; the last column may be of any length."""
    lines = [[name.upper() for name in head], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return "\n".join("  ".join([*map(str.ljust, line, widths), line[-1]]).rstrip() for line in lines)


def format_bytes(count: int | None) -> str:
    """`92.4 MB`; `?` for what is not known."""
    if count is None:
        return "?"
    size, units = float(count), iter(("kB", "MB", "GB", "TB"))
    unit = "bytes"
    while size >= 1000 and (larger := next(units, None)):
        size, unit = size / 1000, larger
    return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"


def format_time(seconds: float) -> str:
    """`4.2 s`, `3 min 10 s`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


class Pulls:
    """Shows weights on their way: one line drawn over on a terminal, else a line for each file and one every `every_s`."""

    def __init__(self, stream: IO[str] | None = None, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream or sys.stderr
        self.every_s, self.clock = every_s, clock
        self.drawn = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.file, self.said_s = "", float("-inf")

    def __call__(self, model: str, done: int, total: int | None) -> None:
        ended, now = done == total, self.clock()
        wait_s = 0.1 if self.drawn else self.every_s
        if model == self.file and not ended and now - self.said_s < wait_s:
            return
        self.file, self.said_s = model, now
        line = f"pulling {model}: {format_bytes(done)} of {format_bytes(total)}" if total or done else f"pulling {model}"
        self.stream.write(f"{CLEAR}{line}" + ("\n" if ended else "") if self.drawn else f"{line}\n")
        self.stream.flush()
