"""Which versions work together: of driver and workers, and of Beam's Python side and the job server's Java side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version

from transforms.errors import WavemillError

TESTED = {("2.77", "74420a19022a"): "2.70"}
"""Beam's Python version and a digest of the job server's options -> the server's version. A server does not tell that itself, but its
options differ between versions; these have run together."""
GROUPS = ("FlinkPipelineOptions", "PortablePipelineOptions", "SdkHarnessOptions")


def mine() -> dict[str, str]:
    """What driver and workers must have alike."""
    return {name: version(name) for name in ("wavemill", "apache-beam")}


def require_same(driver: dict[str, str], host: str) -> None:
    """Raises `version_mismatch` where this process has other versions than the driver."""
    here = mine()
    if here != driver:
        wrong = ", ".join(
            f"{name} {here.get(name)} where the driver has {driver[name]}" for name in driver if here.get(name) != driver[name]
        )
        raise WavemillError(
            "version_mismatch", f"the worker pool on {host} has {wrong}; install the same version on both, then start the pool again"
        )


def judge(options: Iterable[tuple[str, str]]) -> str | None:
    """A warning for a Flink job server that is none of the tested ones, by its options, each a group and a name.

    Raises `version_mismatch` for what is no job server of Flink.
    """
    known = sorted(f"{group.rpartition('.')[2]} {name}" for group, name in options if group.endswith(GROUPS))
    if not any(name.startswith(GROUPS[0]) for name in known):
        raise WavemillError(
            "version_mismatch", "what answers at --endpoint is no job server of Flink; for another one give --runner portable", "endpoint"
        )
    python, found = version("apache-beam").rpartition(".")[0], hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]
    if (python, found) in TESTED:
        return None
    tested = ", ".join(f"Python {python} with job server {java}" for (python, _), java in TESTED.items())
    return f"this Beam, {python}, was not tried with a job server of that version (its options are {found}); tried were: {tested}"
