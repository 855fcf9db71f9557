"""A child process that works and tells of it, and the living parent that counts its deaths.

Engines are other people's native code: what kills its process must not take the driver along.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil

from transforms.errors import WavemillError

DEATHS = 3
"""So many times may work kill its process before it is taken apart."""
Hear = Callable[[dict[str, Any]], None]


class Control:
    """How the driver is told to stop: `stop(reason)` once ends the work within a piece, `kill()` at once."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.killed = False

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason

    def kill(self) -> None:
        self.killed = True


def cause(code: int) -> str:
    """Why a process ended, for people: `code` is its exit code, or minus the number of its signal."""
    if code < 0:
        name = signal.Signals(-code).name
        return f"signal {name}" + (", perhaps out of memory" if name == "SIGKILL" else "")
    return f"exit code {code}"


class Child:
    """One child process from start to end: what it opened and did not finish, and what it finished.

    `module` is run with the number of a file descriptor as its argument, gets `lines` on its standard input and writes
    events there as JSON lines: `open` and `done` name what is begun and finished, `error` and `detail` a fault of the system.

    A child that has finished something and holds more than `memory_limit_mb` (0: no limit) is told to `rest`: to begin nothing more.
    """

    def __init__(
        self,
        module: str,
        lines: Sequence[str],
        scratch: Path,
        control: Control,
        hear: Hear,
        environment: Mapping[str, str] | None = None,
        memory_limit_mb: int = 0,
    ) -> None:
        self.module, self.lines, self.scratch, self.control, self.hear = module, lines, scratch, control, hear
        self.environment, self.memory_limit_mb = environment or {}, memory_limit_mb
        self.rested = False
        self.opened: set[str] = set()
        self.done: set[str] = set()
        self.error: WavemillError | None = None
        self.last_lines = ""
        """The end of what the child printed."""

    def run(self) -> int:
        """The exit code, 0 also when stopped as told. Raises what the child reported of the system."""
        with tempfile.TemporaryFile() as log:
            try:
                return self._run(log)
            finally:
                self.last_lines = _tail(log)
                if self.error and self.error.code == "internal":
                    self.error.detail += f"\n{self.last_lines}"

    def _run(self, log: IO[bytes]) -> int:
        receive, send = os.pipe()
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment["TMPDIR"] = str(self.scratch)  # what a killed child leaves goes with the driver's own
        environment |= self.environment
        with subprocess.Popen(
            [sys.executable, "-P", "-m", self.module, str(send)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(send,),
            env=environment,
            text=True,
        ) as process:
            os.close(send)
            events: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_pump, args=(receive, events), daemon=True).start()
            assert process.stdin
            try:
                process.stdin.writelines(f"{line}\n" for line in self.lines)
                process.stdin.flush()
                self._follow(process, events)
            except BrokenPipeError:
                pass  # it died at once; its exit code says how
            except BaseException:
                process.kill()
                raise
            code = process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
        if self.error:
            raise self.error
        return 0 if self.control.killed else code

    def _follow(self, process: subprocess.Popen[str], events: queue.Queue[str | None]) -> None:
        told = False
        assert process.stdin
        while True:
            if self.control.killed:
                process.kill()
            elif self.control.reason and not told:
                process.stdin.write("stop\n")
                process.stdin.flush()
                told = True
            elif not (told or self.rested) and self._is_large(process.pid):
                process.stdin.write("rest\n")
                process.stdin.flush()
                self.rested = True
            try:
                line = events.get(timeout=0.2)
            except queue.Empty:
                continue
            if line is None:
                return
            self._take(json.loads(line))

    def _is_large(self, pid: int) -> bool:
        if not (self.memory_limit_mb and self.done):
            return False
        try:
            return bool(psutil.Process(pid).memory_info().rss > self.memory_limit_mb << 20)
        except psutil.NoSuchProcess:
            return False

    def _take(self, event: dict[str, Any]) -> None:
        if "open" in event:
            self.opened.add(event["open"])
        elif "done" in event:
            self.opened.discard(event["done"])
            self.done.add(event["done"])
        elif "error" in event:
            self.error = WavemillError(event["error"], event["detail"])
        self.hear(event)


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 4000))
    return "\n".join(log.read().decode(errors="replace").splitlines()[-15:])


def _pump(receive: int, events: queue.Queue[str | None]) -> None:
    with os.fdopen(receive) as lines:
        for line in lines:
            if line.endswith("\n"):
                events.put(line)
    events.put(None)
