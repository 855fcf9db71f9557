"""What this machine can do: models and engines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from typing import Any

import click

from transforms.command_line import Pulls, format_bytes, format_table, new_settings, say
from transforms.errors import WavemillError

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON on standard output.")

MOST = 12
"""Longer lists are counted in a table."""


def print_facts(facts: list[dict[str, Any]], as_json: bool) -> None:
    """Rows of one shape, as a table or as JSON; what is a number of bytes, or a list, is written for people."""
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False))
    elif facts:
        head = list(facts[0])
        click.echo(format_table(head, ([_cell(name, row[name]) for name in head] for row in facts)))


def _cell(name: str, value: Any) -> str:
    if name == "bytes":
        return format_bytes(value)
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-" if len(value) <= MOST else f"{len(value)} {name}"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


@click.group()
def models() -> None:
    """List, pull and verify weights.

    \b
    Examples:
      wavemill models list
      wavemill models pull                  what the default engines need
      wavemill models pull whisper-tiny.en
      wavemill models verify
    """


@models.command("list")
@AS_JSON
def list_models(as_json: bool) -> None:
    """Every model: its engine, licence, size, whether it is here, and what it can do.

    \b
    Examples:
      wavemill models list
      wavemill models list --json
    """
    from transforms import models as table

    settings = new_settings()
    facts = [
        {
            "id": row.id,
            "engine": row.engine,
            "state": table.state(row.id, settings.models_dir).status,
            "bytes": known_bytes(row.id),
            "licence": row.licence,
            "languages": list(row.languages),
            "summary": row.summary,
        }
        for row in table.MODELS.values()
    ]
    print_facts(facts, as_json)


@models.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Every model of the table.")
def pull(ids: tuple[str, ...], everything: bool) -> None:
    """Fetch weights and verify them; what the default engines need when no ID is given. What is here is left as it is.

    \b
    Examples:
      wavemill models pull
      wavemill models pull kokoro-int8 kokoro-voices
    """
    from transforms import models as table, pull as pulling

    settings, shown = new_settings(), Pulls()
    wanted = list(table.MODELS) if everything else list(ids) or default_models()
    for id in wanted:
        table.known(id)
    for id in wanted:
        say(f"{id}: ready in {pulling.pull(id, settings, shown)}")


@models.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
def verify(ids: tuple[str, ...]) -> None:
    """Hash weights again; all that are here when no ID is given. Exits 3 when one is not what it was pulled as.

    \b
    Examples:
      wavemill models verify
      wavemill models verify whisper-base
    """
    from transforms import models as table, pull as pulling

    settings = new_settings()
    wanted = list(ids) or [id for id in table.MODELS if table.state(id, settings.models_dir).status == "ready"]
    for id in wanted:
        table.known(id)
    broken: WavemillError | None = None
    for id in wanted:
        try:
            pulling.verify(id, settings)
            click.echo(f"{id}: ok")
        except WavemillError as error:
            click.echo(f"{id}: {error.code}: {error.detail}")
            broken = error
    if broken:
        raise broken


def known_bytes(id: str) -> int | None:
    """The size of a model as far as the table knows it: the large files, where small ones were never seen."""
    from transforms import models as table

    return sum(file.bytes or 0 for file in table.known(id).files) or None


def default_models() -> list[str]:
    """The models that the default engines need with default options."""
    from transforms.engine import engine_class
    from transforms.operations import OPERATIONS

    found: dict[str, None] = {}
    for row in OPERATIONS.values():
        engine = engine_class(row.name, row.default_engine)()
        found |= dict.fromkeys(engine.models(engine.Options()))
    return list(found)


@click.command()
@AS_JSON
def engines(as_json: bool) -> None:
    """What each operation can be done with, and whether it is installed.

    \b
    Examples:
      wavemill engines
      wavemill engines --json
    """
    print_facts(list(_engines()), as_json)


def _engines() -> Iterable[dict[str, Any]]:
    from transforms.engine import absent, engine_class, engines
    from transforms.operations import OPERATIONS

    for row in OPERATIONS.values():
        for name in engines(row.name):
            cls = engine_class(row.name, name)
            missing = absent(cls)
            programs = [program for program in cls.programs if shutil.which(program) is None]
            extra = f"wavemill[{cls.extra}]" if cls.extra else "wavemill"
            yield {
                "operation": row.name,
                "engine": name,
                "default": name == row.default_engine,
                "state": f"lacks {', '.join(missing)}: pip install '{extra}'"
                if missing
                else f"lacks the program {', '.join(programs)}"
                if programs
                else "installed",
                "parallel": cls.parallel,
                "batch": cls.max_batch,
                "rate_hz": cls.rate_hz,
                "deterministic": cls.deterministic,
                "languages": list(cls.languages),
            }
