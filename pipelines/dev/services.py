"""The services that `wavemill dev` starts: one table, and up, down and status over it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from pipelines.dev import kafka, prism, process, s3, tansu
from pipelines.dev.process import Running
from transforms.errors import WavemillError, near

START_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Service:
    """A row: how to start one service in a folder on given ports, and how to reach it."""

    summary: str
    choose_ports: Callable[[], dict[str, int]]
    command: Callable[[Path, Mapping[str, int]], list[str]]
    environment: Callable[[Mapping[str, int]], dict[str, str]]
    answers: Callable[[Mapping[str, int]], bool]
    try_it: str
    by_name_only: bool = False
    """Not started unless it is named: it needs what not every machine has."""


TRY_KAFKA = "wavemill stream synthesize --input lines --output clips --failures failed --group first"
SERVICES: dict[str, Service] = {
    "s3": Service(
        summary="an S3 server (SeaweedFS)",
        choose_ports=s3.choose_ports,
        command=s3.command,
        environment=s3.environment,
        answers=s3.answers,
        try_it=f"wavemill run synthesize lines.txt -o s3://{s3.BUCKET}/first",
    ),
    "kafka": Service(
        summary="Apache Kafka (needs Java 17, and Maven once; else tansu)",
        choose_ports=kafka.choose_ports,
        command=kafka.command,
        environment=kafka.environment,
        answers=kafka.answers,
        try_it=TRY_KAFKA,
        by_name_only=True,
    ),
    "tansu": Service(
        summary="a broker that speaks Kafka's protocol, in memory only",
        choose_ports=tansu.choose_ports,
        command=tansu.command,
        environment=tansu.environment,
        answers=tansu.answers,
        try_it=TRY_KAFKA,
        by_name_only=True,
    ),
    "prism": Service(
        summary="Prism, a portable Beam runner (needs Go once)",
        choose_ports=prism.choose_ports,
        command=prism.command,
        environment=prism.environment,
        answers=prism.answers,
        try_it="wavemill stream synthesize --input lines --output clips --failures failed --group first --runner portable",
        by_name_only=True,
    ),
}


def find_service(name: str) -> Service:
    """The row of that name. Raises `bad_usage` with what there is."""
    if name not in SERVICES:
        raise WavemillError("bad_usage", f"no service {name!r}; there are {', '.join(SERVICES)}{near(name, SERVICES)}", "service")
    return SERVICES[name]


def stand_in(name: str) -> str:
    """The service that goes up where this one is asked for: `tansu` where Apache Kafka cannot run."""
    return "tansu" if name == "kafka" and not kafka.is_here() else name


def status(name: str, dev_dir: Path) -> Running | None:
    """The service as it runs now, or None."""
    running = process.load(dev_dir / name)
    return running if running and process.find(running) else None


def up(name: str, dev_dir: Path) -> tuple[Running, bool]:
    """The service ready to use, and whether it was started now. Raises `storage_unavailable` if it does not come up."""
    service, folder = find_service(name), dev_dir.absolute() / name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        running = status(name, dev_dir)
        if running:
            return running, False
        last = process.load(folder)
        # the ports of last time, so that a shell's exported variables stay true
        ports = last.ports if last and process.are_free(last.ports.values()) else service.choose_ports()
        return start(name, folder, ports), True


def start(name: str, folder: Path, ports: Mapping[str, int]) -> Running:
    """The service started in `folder`, ready to use. Raises `storage_unavailable` if it does not come up."""
    service = find_service(name)
    inherited = {variable: os.environ[variable] for variable in ("HOME", "PATH", "TMPDIR") if variable in os.environ}
    running = process.spawn(service.command(folder, ports), inherited | service.environment(ports), folder, ports)
    deadline = time.monotonic() + START_PATIENCE_S
    while not service.answers(ports):
        ended = process.find(running) is None
        if ended or time.monotonic() > deadline:
            process.stop(running)
            why = "ended at once" if ended else f"did not answer within {START_PATIENCE_S:g} s"
            raise WavemillError("storage_unavailable", f"{name} {why}; its log is {running.log}")
        time.sleep(0.1)
    return running


def down(name: str, dev_dir: Path) -> bool:
    """Stop the service; false when it was not running. What it stored stays."""
    find_service(name)
    running = process.load(dev_dir / name)
    return running is not None and process.stop(running)
