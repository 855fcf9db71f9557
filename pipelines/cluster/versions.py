"""Which versions work together: of driver and workers, and of Beam's Python side and the job server's Java side."""

from __future__ import annotations

from importlib.metadata import version

from transforms.errors import WavemillError

TESTED = {("2.77", "2.70")}
"""Beam's minor versions, Python's and the job server's, that have run together."""


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
