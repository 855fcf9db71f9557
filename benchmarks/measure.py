"""Timing whole commands: wall and CPU seconds and peak memory, the whole process tree's, and interleaved pairs."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": str(ROOT)}
WAVEMILL = [sys.executable, "-c", "import wavemill; wavemill.main()"]


@dataclass(frozen=True, slots=True)
class Run:
    """One finished command."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    output: str


@dataclass(slots=True)
class Series:
    """Runs of one command."""

    runs: list[Run] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        return [getattr(run, name) for run in self.runs]


def run(command: Sequence[str], most_s: float | None = None, **environment: str) -> Run:
    """Run a command to its end. Raises CalledProcessError when it fails, TimeoutExpired when it was stopped after `most_s`."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**ENVIRONMENT, **environment})
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watcher.start()
    try:
        output, errors = process.communicate(timeout=most_s)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        raise
    wall_s = time.monotonic() - began
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, errors[-4000:])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s, cpu_s, peak[0], output)


def _watch(process: subprocess.Popen[str], peak: list[float]) -> None:
    """The largest sum of resident memory over the process tree, looked at twenty times a second."""
    try:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            total = 0
            for one in [root, *root.children(recursive=True)]:
                try:
                    total += one.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total / 1e6)
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        return


def spread(values: Sequence[float], digits: int = 2) -> str:
    """`median (least-most)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(map(str, row)) + " |" for row in rows)])


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
    return f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({model}), {psutil.virtual_memory().total / 2**30:.0f} GiB, Python {sys.version.split()[0]}"


def verdict(target: str, met: bool) -> str:
    """The sentence after a table that has a target."""
    return f"Target: {target}: {'met' if met else '**not met**'}."
