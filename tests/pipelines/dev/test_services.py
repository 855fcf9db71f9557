"""`wavemill dev`: services come up once, are found again, and only they are stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click.testing
import fsspec
import pytest

from pipelines.dev import process, s3, services
from pipelines.dev.commands import dev
from transforms.errors import WavemillError


@pytest.fixture
def dev_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder for services; what a failing test leaves running ends with it."""
    yield tmp_path
    for name in services.SERVICES:
        services.down(name, tmp_path)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A living process that is none of our services."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.communicate(b"\n", timeout=10)


@pytest.mark.s3
def test_a_server_goes_up_once_stays_reachable_and_keeps_what_it_stored(dev_dir: Path) -> None:
    runner = click.testing.CliRunner(env={"WAVEMILL_DEV_DIR": str(dev_dir)})

    def invoke(*words: str) -> click.testing.Result:
        return runner.invoke(dev, words, catch_exceptions=False)

    first = invoke("up", "s3")
    exports = dict(line.removeprefix("export ").split("=", 1) for line in first.stdout.splitlines())
    assert set(exports) == {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"}
    assert "started" in first.stderr
    fsspec.filesystem("s3", endpoint_url=exports["AWS_ENDPOINT_URL"]).pipe_file(f"s3://{s3.BUCKET}/kept", b"kept")

    again = invoke("up")
    assert again.stdout == first.stdout
    assert "runs already" in again.stderr
    assert exports["AWS_ENDPOINT_URL"] in invoke("status").stdout
    assert exports["AWS_SECRET_ACCESS_KEY"] not in invoke("status").stdout

    assert invoke("down", "s3").stdout == "s3: stopped\n"
    assert invoke("down", "s3").stdout == "s3: was not running\n"
    assert "s3: does not run\n" in invoke("status").stdout

    assert invoke("up").stdout == first.stdout
    client = fsspec.filesystem("s3", endpoint_url=exports["AWS_ENDPOINT_URL"], skip_instance_cache=True)
    assert client.cat_file(f"s3://{s3.BUCKET}/kept") == b"kept"


def test_a_stale_state_file_never_stops_a_process_of_others(dev_dir: Path, stranger: subprocess.Popen[bytes]) -> None:
    folder = dev_dir / "s3"
    folder.mkdir()
    command = s3.command(folder, s3.choose_ports())
    state = {"pid": stranger.pid, "command": command, "ports": {}, "log": str(folder / "log")}
    (folder / process.STATE).write_text(json.dumps(state))
    assert services.status("s3", dev_dir) is None
    assert services.down("s3", dev_dir) is False
    assert stranger.poll() is None


def test_a_process_that_ended_is_not_running(dev_dir: Path) -> None:
    running = process.spawn([sys.executable, "-c", "pass"], dict(os.environ), dev_dir, {})
    os.waitpid(running.pid, 0)
    assert process.find(running) is None
    assert process.stop(running) is False


@pytest.mark.s3
def test_a_server_that_ends_at_once_is_named_with_its_log(dev_dir: Path) -> None:
    ports, data = s3.choose_ports(), dev_dir / "data"
    data.mkdir()
    (data / f"m{ports['master']}").write_text("a file where its folder must be")
    with pytest.raises(WavemillError, match="s3 ended at once; its log is") as caught:
        services.start("s3", dev_dir, ports)
    assert caught.value.code == "storage_unavailable"


def test_ports_are_different_and_free() -> None:
    ports = s3.choose_ports()
    assert len(set(ports.values())) == len(s3.SERVERS)
    assert process.are_free([port + offset for port in ports.values() for offset in (0, s3.GRPC)])


def test_an_unknown_service_is_refused_with_what_there_is() -> None:
    with pytest.raises(WavemillError, match="there are s3") as caught:
        services.find_service("s4")
    assert caught.value.code == "bad_usage"


def test_a_state_file_of_another_make_is_refused(dev_dir: Path) -> None:
    (dev_dir / process.STATE).write_text("{}")
    with pytest.raises(WavemillError, match="remove it by hand"):
        process.load(dev_dir)


def test_a_process_is_known_from_the_moment_it_was_started(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})  # so that a program is often looked at before it has its command line
    try:
        for _ in range(200):
            running = process.spawn(["/bin/sleep", "60"], {}, tmp_path, {})
            found = process.find(running)
            os.kill(running.pid, signal.SIGKILL)
            os.waitpid(running.pid, 0)
            assert found is not None
    finally:
        os.sched_setaffinity(0, before)
