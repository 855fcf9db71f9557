"""Where the outputs of one or a few items go: a file, standard output, or a folder with one file for each input."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import click

TEXT_FORMATS = ("txt", "json", "srt", "vtt", "tsv")
DATA_FORMATS = ("json",)
PLAIN_FORMATS = ("txt", "json")
"""Of a text that was made of a text, which has no times."""
STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Target:
    """`path` is a file or `-`; without `path` the text itself is printed."""

    format: str
    path: str | None


def suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower().lstrip(".")


def is_folder(output: str) -> bool:
    return output.endswith("/") or os.path.isdir(output)


def for_audio(names: Sequence[str], output: str | None, format: str | None, known: Sequence[str]) -> list[Target]:
    """A target for each input; `names` are the inputs' own. Raises `UsageError`."""
    if len(names) > 1 or (output and is_folder(output)):
        return _in_folder(names, output, [format or "mp3"])
    if output is None:
        return [Target(format or "mp3", _free_name(PurePosixPath(names[0]).stem, format or "mp3"))]
    if format is None and output != STDOUT:
        format = suffix(output)
        if format not in known:
            raise click.UsageError(f"{output}: the name must end in .{', .'.join(known)}, or give --format")
    elif output != STDOUT and suffix(output) in known and suffix(output) != format:
        raise click.UsageError(f"{output}: the name says {suffix(output)}, --format {format}; give one of them")
    return [Target(format or "mp3", output)]


def for_text(names: Sequence[str], output: str | None, formats: Sequence[str], known: Sequence[str] = TEXT_FORMATS) -> list[Target]:
    """Targets, as many as `formats` for each input when they go to a folder; the usual format is the first one `known`.

    Raises `UsageError`.
    """
    if output is None and len(names) == 1 and not formats:
        return [Target(known[0], None)]
    if output in (None, STDOUT) and len(names) == 1:
        if len(formats) > 1:
            raise click.UsageError("one format at a time can be printed; give -o DIR")
        return [Target(formats[0] if formats else known[0], STDOUT)]
    assert output or len(names) > 1
    if output and output != STDOUT and len(names) == 1 and not is_folder(output) and suffix(output):
        if suffix(output) not in known:
            raise click.UsageError(f"{output}: the name must end in .{', .'.join(known)}, or be a folder")
        return [Target(suffix(output), output)]
    return _in_folder(names, output, formats or [known[0]])


def for_stem(target: Target, name: str) -> Target:
    """The target of one of several outputs: `song.mp3` is `song.vocals.mp3` for the stem `vocals`."""
    assert target.path is not None
    stem, dot, ending = target.path.rpartition(".")
    return Target(target.format, f"{stem}.{name}{dot}{ending}")


def _in_folder(names: Sequence[str], output: str | None, formats: Sequence[str]) -> list[Target]:
    if output is None or output == STDOUT:
        raise click.UsageError(f"{len(names)} files need a folder: -o DIR")
    if len(names) > 1 and not is_folder(output) and suffix(output) in (*formats, *TEXT_FORMATS):
        raise click.UsageError(f"-o {output} is one file, but {len(names)} are given; give a folder")
    taken: dict[str, str] = {}
    found = []
    for name in names:
        stem = PurePosixPath(name).stem
        if twin := taken.get(stem.casefold()):
            raise click.UsageError(f"{twin} and {name} would both be written to {stem}.{formats[0]} in {output}")
        taken[stem.casefold()] = name
        found += [Target(format, f"{output.rstrip('/')}/{stem}.{format}") for format in formats]
    return found


def _free_name(stem: str, format: str) -> str:
    number, name = 1, f"{stem}.{format}"
    while os.path.exists(name):
        number += 1
        name = f"{stem}-{number}.{format}"
    return name
