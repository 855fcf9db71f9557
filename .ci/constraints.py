"""Writes constraints.txt: the newest versions that pyproject.toml and all its extras allow together."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HEADER = """\
# The whole environment, all extras, the same everywhere. Written by `make constraints`; edit pyproject.toml, not this.
"""


def resolve(root: Path) -> dict[str, str]:
    """Name -> version of every distribution that an installation with all extras would hold."""
    extras = "api,chatterbox,dagster,dev,gpu,kafka,sherpa,torch"
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        pip, report = [f"{folder}/bin/python", "-m", "pip"], Path(folder, "report.json")
        # an older pip downloads gigabytes of wheels to read their metadata
        subprocess.run([*pip, "install", "--quiet", "--upgrade", "pip>=25"], check=True)
        wanted = ["--dry-run", "--ignore-installed", "--quiet", "--report", str(report), f"{root}[{extras}]"]
        subprocess.run([*pip, "install", *wanted], check=True)
        installs = json.loads(report.read_text())["install"]
    found = {entry["metadata"]["name"]: entry["metadata"]["version"] for entry in installs}
    # `+cpu` and the like name a build of an index of its own: the plain version holds for all of them
    return {re.sub(r"[-_.]+", "-", name).lower(): version.partition("+")[0] for name, version in found.items()}


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    pins = resolve(root)
    del pins["wavemill"]
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    (root / "constraints.txt").write_text(HEADER + "".join(lines))
    sys.stdout.write(f"constraints.txt: {len(lines)} pins\n")


if __name__ == "__main__":
    main()
