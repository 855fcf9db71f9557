"""Java programs as Maven gives them: fetched once, every jar compared with its pinned digest, and kept."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from filelock import FileLock

from transforms.errors import WavemillError

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"
STALLED_S = 60
"""So long may a connection bring nothing."""
TRIES = 3


def fetch(what: str, pom: Path, digests: Path, target: Path) -> Path:
    """`target`, the folder of the jars that `pom` names, fetched at the first call. `digests` has a line `sha256  name` a jar.

    Raises `bad_usage` where Maven is missing or cannot fetch them, or a jar is another.
    """
    pinned = {name: digest for digest, name in (line.split() for line in digests.read_text().splitlines())}
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():
            with tempfile.TemporaryDirectory(dir=target.parent) as name:
                copied = Path(name) / "jars"
                _copy(what, pom, copied)
                found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in copied.iterdir()}
                if found != pinned:
                    wrong = sorted(name for name in found.keys() | pinned.keys() if found.get(name) != pinned.get(name))
                    raise WavemillError("bad_usage", f"the jars of {what} are not the pinned ones: {', '.join(wrong[:5])}")
                copied.rename(target)
    return target


def _copy(what: str, pom: Path, target: Path) -> None:
    """Maven keeps what it has fetched, so that another try goes on where one was given up."""
    # a connection that stalls would be waited for half an hour; the second name is that of Maven 3.9 and later
    patience = [f"-D{name}={STALLED_S * 1000}" for name in ("maven.wagon.rto", "aether.connector.requestTimeout")]
    command = [program("mvn", what), "-B", "-q", *patience, "-f", str(pom), PLUGIN, f"-DoutputDirectory={target}"]
    for _ in range(TRIES):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
    raise WavemillError("bad_usage", f"Maven cannot fetch {what}:\n{done.stdout[-2000:]}")


def program(name: str, what: str) -> str:
    """The path of `java` or `mvn`. Raises `bad_usage` where it is missing."""
    found = shutil.which(name)
    if found is None:
        package = {"java": "a Java runtime of version 17 or later", "mvn": "Maven"}[name]
        raise WavemillError("bad_usage", f"the program `{name}` is not here; {what} needs {package}")
    return found
