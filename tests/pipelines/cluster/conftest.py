"""A Flink cluster of two hosts for the whole session."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from benchmarks.hosts import Hosts, Place, load
from benchmarks.measure import ROOT

PATIENCE_S = 300.0


def wait_for(what: Callable[[], Any], why: str) -> Any:
    """The first true value of `what`."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < deadline, why
        time.sleep(0.1)
    return found


def interrupt(driver: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str]:
    """Send a signal: the exit code, and what was said."""
    driver.send_signal(number)
    _, said = driver.communicate(timeout=PATIENCE_S)
    return driver.returncode, said


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    if os.geteuid():
        pytest.skip("a cluster of network namespaces needs root")
    for program in ("ip", "java", "javac", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"a Flink cluster needs the program {program}")
    if subprocess.run(["ip", "netns", "add", f"wm-try-{os.getpid()}"], capture_output=True).returncode:
        pytest.skip("network namespaces cannot be made here")
    subprocess.run(["ip", "netns", "del", f"wm-try-{os.getpid()}"], check=True)
    script, folder = load(), tmp_path_factory.mktemp("cluster")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    cluster = script.up(folder, with_kafka=True)
    yield Hosts(script, cluster)
    script.down(folder)


@pytest.fixture
def place(hosts: Hosts, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A fresh OUT; afterwards the cluster is whole again, whatever was killed."""
    wait_for(hosts.whole, "the cluster is not whole")
    yield Place(hosts, re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:40])
    hosts.cancel_all()
