"""Documents of measurements: a section each, of which one can be measured anew while the others stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import machine


class Section(NamedTuple):
    """A title, what measures it, and what is said before its table."""

    title: str
    report: Callable[[], str]
    about: str


def write(target: Path, head: str, sections: Mapping[str, Section], names: Sequence[str], command: str) -> None:
    """Measure the named sections, or all, and write each into `target` as soon as it is measured."""
    for name in names or sections:
        old = target.read_text() if target.exists() else head
        parts = {part.split("\n", 1)[0]: "## " + part for part in old.split("\n## ")[1:]}
        title, report, about = sections[name]
        parts[title] = f"## {title}\n\n{about.strip()}\n\n{machine()}; `{command} {name}`.\n\n{report()}"
        target.write_text(head + "".join("\n" + parts[s.title].rstrip() + "\n" for s in sections.values() if s.title in parts))
