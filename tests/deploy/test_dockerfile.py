"""The image's Dockerfile, which no container engine builds here: it copies what there is, and leaves the rest to install.sh."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTENT = (ROOT / "deploy/Dockerfile").read_text()


@pytest.fixture
def steps(tmp_path: Path) -> list[tuple[str, str]]:
    """Instruction and value of each step."""
    parser = DockerfileParser(str(tmp_path))
    parser.content = CONTENT
    return [(one["instruction"], one["value"]) for one in parser.structure if one["instruction"] != "COMMENT"]


def values(steps: list[tuple[str, str]], instruction: str) -> list[str]:
    return [value for name, value in steps if name == instruction]


def test_what_it_copies_exists_and_is_all_that_an_installation_needs(steps: list[tuple[str, str]]) -> None:
    copied: set[str] = set()
    for value in values(steps, "COPY"):
        *sources, target = value.split()
        assert all((ROOT / source).exists() for source in sources), value
        if len(sources) == 1:
            assert target == f"/src/{sources[0]}"
        copied.update(sources)
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert copied == {*wheel, "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "deploy/install.sh"}


def test_nothing_is_run_but_the_installation(steps: list[tuple[str, str]]) -> None:
    (run,) = values(steps, "RUN")
    words = [word for word in shlex.split(run) if "=" not in word]
    assert words[0] == "/src/deploy/install.sh"
    assert not set(run) & set(";&|<>`")


def test_the_extras_are_ones_that_there_are(steps: list[tuple[str, str]]) -> None:
    (extras,) = [value.partition("=")[2] for value in values(steps, "ARG")]
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_it_runs_as_nobody_and_tells_its_health(steps: list[tuple[str, str]]) -> None:
    names = [name for name, _ in steps]
    assert int(values(steps, "USER")[-1].split(":")[0]) > 0
    assert names.index("USER") > names.index("RUN")
    assert json.loads(values(steps, "ENTRYPOINT")[-1]) == ["wavemill"]
    (check,) = values(steps, "HEALTHCHECK")
    program = json.loads(check.partition("CMD")[2])
    assert program[0] == values(steps, "RUN")[0].split()[-1] + "/bin/python"
    compile(program[2], "HEALTHCHECK", "exec")


def test_no_secret_is_built_in(steps: list[tuple[str, str]]) -> None:
    given = " ".join(values(steps, "ENV") + values(steps, "ARG") + values(steps, "LABEL"))
    assert not [word for word in ("SECRET", "PASSWORD", "TOKEN", "KEY") if word in given.upper()]
