"""What is installed and what is tracked: no torch by default, no stolen names, no traces of one machine."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from transforms import engine
from transforms.engine import engine_class

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OUR_PACKAGES = {"api", "orchestration", "pipelines", "sinks", "sources", "transforms"}
OUR_NAMES = OUR_PACKAGES | {"wavemill"}


def closure(requirements: list[str]) -> set[str]:
    """The names of all distributions that these requirements bring on this machine, extras and markers evaluated."""
    found: set[tuple[str, str]] = set()
    waiting = [(Requirement(line), "") for line in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in found:
                found.add((name, wanted))
                waiting += [(Requirement(line), wanted) for line in distribution(name).requires or ()]
    return {name for name, _ in found}


def top_level_names(installed: Distribution) -> set[str]:
    """What a distribution puts beside others into site-packages, by its own list of files."""
    files = (file.parts for file in installed.files or () if file.suffix == ".py" or file.suffix == ".so")
    return {parts[0].removesuffix(".py") for parts in files if parts[0] != ".."}


def thieves(path: list[str]) -> dict[str, set[str]]:
    """Distribution -> the names of ours that it owns, over all that is installed on `path`."""
    others = (found for found in distributions(path=path) if found.metadata["Name"] != "wavemill")
    return {found.metadata["Name"]: stolen for found in others if (stolen := top_level_names(found) & OUR_NAMES)}


def tracked() -> Iterator[tuple[str, str]]:
    """Name and text of every tracked text file, and of those that will be when they are added."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        try:
            yield name, (ROOT / name).read_text()
        except (FileNotFoundError, UnicodeDecodeError, IsADirectoryError):
            continue


def test_the_default_installation_holds_no_torch() -> None:
    names = closure(PROJECT["dependencies"])
    assert {"apache-beam", "faster-whisper", "onnxruntime", "misaki", "spacy"} <= names
    assert names.isdisjoint({"torch", "torchaudio", "transformers", "kokoro", "spacy-curated-transformers"})


def test_where_the_torch_extra_is_not_installed_torch_cannot_be_imported() -> None:
    try:
        distribution("torch")
    except PackageNotFoundError:
        assert importlib.util.find_spec("torch") is None
    else:
        pytest.skip("the torch extra is installed here")


def test_what_needs_an_extra_of_an_engine_is_marked_so_that_the_environment_of_the_engines_runs_it() -> None:
    classes = [engine_class(operation, name) for operation, table in engine.ENGINES.items() for name in table]
    extras = re.search(r"^EXTRAS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert extras is not None and set(extras[1].split(",")) == {cls.extra for cls in classes} - {""}
    everywhere = {module for cls in classes if not cls.extra for module in cls.requires}
    modules = {module for cls in classes if cls.extra for module in cls.requires} - everywhere
    skips = re.compile(rf"importorskip\(\s*[\"']({'|'.join(modules)})\b")
    found = {f"{name}: {hit.group()}" for name, text in tracked() if name.startswith("tests/") for hit in skips.finditer(text)}
    assert found == set(), "a mark, pytest.mark.extra, or a fixture such as torch_extra says so"


def test_no_installed_distribution_owns_a_name_of_ours() -> None:
    assert thieves(sys.path) == {}


def test_a_distribution_that_owns_a_name_of_ours_is_found(tmp_path: Path) -> None:
    for name, file in (("stealer", "api/__init__.py"), ("single", "wavemill.py"), ("honest", "apiary/api.py")):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "RECORD").write_text(f"{file},,\n{name}-1.dist-info/METADATA,,\n")
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert thieves([str(tmp_path)]) == {"stealer": {"api"}, "single": {"wavemill"}}


@pytest.mark.parametrize("package", sorted(OUR_NAMES))
def test_our_names_are_imported_from_here(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin).is_relative_to(ROOT)


@pytest.mark.parametrize("command", [[str(Path(sys.executable).parent / "wavemill")], [sys.executable, "-P", "-m", "wavemill"]])
def test_a_folder_with_hostile_names_does_not_reach_the_command(tmp_path: Path, command: list[str]) -> None:
    for package in OUR_PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('hijacked')")
    (tmp_path / "wavemill.py").write_text("raise SystemExit('hijacked')")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run([*command, "--version"], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert PROJECT["version"] in done.stdout


def test_every_dependency_is_pinned_by_name_and_version_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert all(re.fullmatch(r"[a-z0-9-]+", name) and re.fullmatch(r"[0-9][a-z0-9.]*", version) for name, version in pins.items())
    extras = PROJECT["optional-dependencies"]
    assert closure(PROJECT["dependencies"] + extras["dev"]) <= set(pins)
    named = {canonicalize_name(Requirement(line).name) for lines in extras.values() for line in lines}
    assert named <= set(pins)


def test_what_is_installed_is_what_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    needed = closure(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
    installed = {name: distribution(name).version.partition("+")[0] for name in needed}
    assert installed == {name: pins[name] for name in needed}


def test_no_tracked_file_names_a_registry_or_this_checkout() -> None:
    # backwards, so that this file does not name them either
    hosts = (
        "gro.ipyp",
        "gro.detsohnohtyp.selif",
        "gro.sjmpn.yrtsiger",
        "gro.nevam.1oper",
        "gro.gnalog.yxorp",
        "gro.naibed.bed",
        "oi.setarc",
        "naibed/gro.naibed/",
    )
    forbidden = re.compile("|".join(re.escape(host[::-1]) for host in hosts) + rf"|(?<![\w.]){re.escape(str(ROOT))}/")
    found = {f"{name}: {hit.group()}" for name, text in tracked() for hit in forbidden.finditer(text)}
    assert found == set()


def test_every_python_file_that_the_docs_name_exists() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {(page.name, file) for page in pages for file in re.findall(r"`([\w./-]+/[\w.-]+\.py)`", page.read_text())}
    assert {(page, file) for page, file in named if not (ROOT / file).exists()} == set()


@pytest.mark.slow
def test_the_wheel_holds_our_packages_with_their_data_and_never_the_tests(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("wavemill-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == OUR_PACKAGES | {"wavemill.py"}
    ours = {name for name, _ in tracked() if name.split("/")[0] in OUR_PACKAGES}
    assert ours <= names
