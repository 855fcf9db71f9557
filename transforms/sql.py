"""Texts and paths inside SQL for DuckDB."""

from __future__ import annotations

from pathlib import Path


def literal(text: str | Path) -> str:
    """The text as an SQL literal."""
    return "'" + str(text).replace("'", "''") + "'"


def file(path: str | Path) -> str:
    """One file to read, as an SQL literal: DuckDB takes a bare path for a pattern."""
    return literal("".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path)))
