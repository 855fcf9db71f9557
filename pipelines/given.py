"""What a command line gives as items: a text, files, patterns, standard input."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from transforms.errors import WavemillError
from transforms.operations import Operation

if TYPE_CHECKING:
    from transforms.records import Input

STDIN = "-"


def read_inputs(row: Operation, params: dict[str, Any], folder: str) -> tuple[list[str], list[dict[str, Input]]]:
    """The inputs' names for people, and each item's inputs; what comes by standard input is kept in `folder` while it runs."""
    from transforms.records import Input
    from transforms.storage import canonical

    def uri(name: str) -> Input:
        return Input("uri", canonical(name))

    main, given = row.main_input, params["given"]
    others = {
        name: Input("text", params[f"input_{name}"]) if kind == "text" else uri(params[f"input_{name}"])
        for name, kind in row.inputs.items()
        if name != main and params[f"input_{name}"] is not None
    }
    if main in row.optional and others and not given and params.get("file") is None:
        return [row.name], [others]
    if row.inputs[main] == "text":
        if (given is None) == (params["file"] is None):
            raise click.UsageError("give one of TEXT, - for standard input, or --file FILE")
        text = _read(params["file"]) if given is None else _decode(sys.stdin.buffer.read(), "-") if given == STDIN else given
        return [params["file"] or row.name], [{main: Input("text", text), **others}]
    names = [found for name in given for found in _expand(name)]
    if not names:
        raise click.UsageError(f"give FILE..., or {' or '.join(f'--{name}' for name in row.inputs if name != main)}")
    if STDIN not in names:
        return names, [{main: uri(name), **others} for name in names]
    if len(names) > 1:
        raise click.UsageError("- is standard input and goes alone")
    path = os.path.join(folder, "stdin")
    with open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return ["stdin"], [{main: uri(path), **others}]


def _read(path: str) -> str:
    from transforms.storage import open_input

    try:
        with open_input(path) as opened:
            return _decode(opened.file.read(), path)
    except WavemillError as error:
        raise WavemillError("bad_usage", error.detail, "file") from error


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise WavemillError("bad_usage", f"{name} is not UTF-8: {error}") from None


def _expand(name: str) -> list[str]:
    """The names a pattern stands for, where the shell has not done it."""
    from transforms import storage

    if storage.is_local(name) and os.path.exists(name):
        if os.path.isdir(name):
            raise click.UsageError(f"{name} is a folder; for all its files: wavemill run OPERATION {name} -o OUT")
        return [name]
    if not any(mark in name for mark in "*?["):
        return [name]
    found = [entry.url for entry in storage.glob(name)]
    if not found:
        raise click.UsageError(f"no file matches {name}")
    return found
