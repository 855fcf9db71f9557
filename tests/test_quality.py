"""A short form of `make quality`: sections are written, kept and gone on with, and conversions are measured by the same code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import quality, quality_convert, quality_cost, quality_synthesize
from benchmarks.measure import ROOT, table
from benchmarks.sections import Section, write

COMMAND = "python -m benchmarks.quality"


def test_conversions_between_formats_keep_length_and_loudness(tmp_path: Path) -> None:
    short = Section("Convert", lambda: quality_convert.report(("wav", "mp3", "flac"), 2.0), "A few.")
    write(tmp_path / "quality.md", quality.HEAD, {"convert": short}, [], COMMAND)
    text = (tmp_path / "quality.md").read_text()
    found = re.search(r"All 9 decode; at most ([\d.]+) ms and ([\d.]+) LU off", text)
    assert found
    assert float(found[1]) <= 50
    assert float(found[2]) <= 0.7  # by MP3
    assert f"`{COMMAND} convert`" in text


def test_a_section_that_is_written_is_kept_until_it_is_named(tmp_path: Path) -> None:
    counts = {"a": 0, "b": 0}

    def measured(name: str) -> str:
        counts[name] += 1
        return f"{name} number {counts[name]}"

    sections = {name: Section(name.upper(), lambda name=name: measured(name), "") for name in counts}  # type: ignore[misc]
    target = tmp_path / "quality.md"
    for names in (["b"], [], ["a"], []):
        write(target, "# Head\n", sections, names, COMMAND, keep=True)
    assert counts == {"a": 2, "b": 1}
    text = target.read_text()
    assert text.index("a number 2") < text.index("b number 1")
    assert "a number 1" not in text


def test_a_section_that_was_stopped_goes_on_after_the_rows_that_it_has(tmp_path: Path) -> None:
    def grow(old: str) -> Iterator[str]:
        rows = re.findall(r"^row \d$", old, re.MULTILINE)
        for n in range(len(rows), 3):
            rows.append(f"row {n}")
            yield "\n".join(rows)
            if n == 1:
                raise KeyboardInterrupt

    sections = {"cost": Section("Cost", None, "", grow)}
    target = tmp_path / "quality.md"
    with pytest.raises(KeyboardInterrupt):
        write(target, "# Head\n", sections, [], COMMAND, keep=True)
    assert target.read_text().endswith("row 0\nrow 1\n")
    write(target, "# Head\n", sections, [], COMMAND, keep=True)
    assert target.read_text().endswith("row 0\nrow 1\nrow 2\n")


@pytest.mark.parametrize(
    ("module", "rows"),
    [(quality_synthesize, quality_synthesize.ROWS), (quality_cost, [(case.title, over) for over, case, _ in quality_cost.CASES])],
    ids=["synthesize", "cost"],
)
def test_rows_that_are_written_are_not_measured_again(module: ModuleType, rows: Sequence[tuple[str, str]]) -> None:
    assert len(set(rows)) == len(rows)
    written = table(module.HEAD, [[*row, *("1" for _ in module.HEAD[2:])] for row in rows])
    assert list(module.grow(written)) == [written + "\n"]


def test_every_section_of_the_document_can_be_measured_anew_by_a_name_and_make_has_the_target() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "docs/quality.md").read_text(), re.MULTILINE)
    assert set(titles) <= {section.title for section in quality.SECTIONS.values()}
    assert re.search(r"^quality: .*## \w+", (ROOT / "Makefile").read_text(), re.MULTILINE)
