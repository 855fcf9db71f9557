"""Documents of measurements: a section each, of which one can be measured anew while the others stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.measure import machine


class Section(NamedTuple):
    """A title, what measures it, and what is said before its table.

    `grow` stands in the place of `report` where a section is long: it takes the section as it was written last and yields
    it anew each time there is more of it, so that it goes on where it was stopped.
    """

    title: str
    report: Callable[[], str] | None
    about: str
    grow: Callable[[str], Iterator[str]] | None = None


def write(target: Path, head: str, sections: Mapping[str, Section], names: Sequence[str], command: str, keep: bool = False) -> None:
    """Measure the named sections, or all, and write each into `target` as soon as it is measured.

    With `keep` all are those that `target` does not have yet, and those that grow.
    """
    for name in names or [name for name, one in sections.items() if not keep or one.grow or one.title not in _written(target, head)]:
        title, report, about, grow = sections[name]
        old = _written(target, head).get(title, "")
        for found in grow(old) if grow else (report() if report else "",):
            parts = _written(target, head)
            parts[title] = f"## {title}\n\n{about.strip()}\n\n{machine()}; `{command} {name}`.\n\n{found}"
            target.write_text(head + "".join("\n" + parts[s.title].rstrip() + "\n" for s in sections.values() if s.title in parts))


def _written(target: Path, head: str) -> dict[str, str]:
    old = target.read_text() if target.exists() else head
    return {part.split("\n", 1)[0]: "## " + part for part in old.split("\n## ")[1:]}
