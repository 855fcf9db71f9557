"""A service's process in the background: what is written down of it, whether it still lives, how it is stopped."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from transforms.errors import WavemillError

STATE = "state.json"
STOP_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A process as its state file tells it. The command line holds its own folder and ports, so it names one service."""

    pid: int
    command: list[str]
    ports: dict[str, int]
    log: str


def choose_ports(names: Iterable[str], offsets: Sequence[int] = (0,)) -> dict[str, int]:
    """A port for each name that is free now, also with each offset added.

    They lie below what Linux gives outgoing connections, so that none of those takes one before the service listens.
    """
    wanted, found = list(names), list[int]()
    for port in random.sample(range(20_000, 22_000), 2_000):
        if are_free(port + offset for offset in offsets):
            found.append(port)
        if len(found) == len(wanted):
            return dict(zip(wanted, found, strict=True))
    raise WavemillError("bad_usage", "no free ports between 20000 and 22000")


def are_free(ports: Iterable[int]) -> bool:
    """Whether every one of these ports can be listened on now."""
    with ExitStack() as held:
        for port in ports:
            listener = held.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def load(folder: Path) -> Running | None:
    """What `folder` says of its process, or None. Raises `bad_usage` for a state file of another make."""
    path = folder / STATE
    if not path.exists():
        return None
    try:
        return Running(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise WavemillError("bad_usage", f"{path} cannot be read ({error}); remove it by hand") from None


def find(running: Running) -> psutil.Process | None:
    """The living process, or None when it ended, also when another program has its pid by now."""
    try:
        process = psutil.Process(running.pid)
        if process.cmdline() == running.command and process.status() != psutil.STATUS_ZOMBIE:
            return process
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        # denied: somebody else's process, for our own we may always look at
        return None
    return None


def spawn(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, ports: Mapping[str, int], within: Sequence[str] = ()
) -> Running:
    """Start a process of its own session that outlives this one, and write its state down.

    `within` is a command that becomes the one given after it, such as `ip netns exec HOST`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    opened = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    pid = os.posix_spawn(
        [*within, *command][0],
        [*within, *command],
        dict(environment),
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), opened, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    _await_program(pid)
    running = Running(pid, list(command), dict(ports), str(log))
    (folder / STATE).write_text(json.dumps(asdict(running), indent=1))
    return running


def _await_program(pid: int) -> None:
    """A process that is just becoming another program has no command line for a moment, by which `find` knows it."""
    try:
        while not psutil.Process(pid).cmdline():
            time.sleep(0.001)
    except psutil.NoSuchProcess:
        return  # it has ended (psutil's zombies are such errors too)


def stop(running: Running, patience_s: float = STOP_PATIENCE_S) -> bool:
    """End the process, by force when it does not go within `patience_s`; false when it was gone already."""
    process = find(running)
    if process is None:
        return False
    process.terminate()
    try:
        process.wait(patience_s)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_PATIENCE_S)
    return True
