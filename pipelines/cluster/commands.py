"""`wavemill worker-pool`: the process beside each task manager of a cluster."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import click

from transforms.command_line import Pulls, new_settings, say


@click.command("worker-pool")
@click.option("--host", default="localhost", show_default=True, help="Address to listen on: the task manager's side of this host alone.")
@click.option("--port", type=int, default=50_000, show_default=True, help="Where the task manager asks for workers.")
@click.option("--health-port", type=int, help="Where its health is told, on every address of this host.")
@click.option("--models", default="", metavar="A,B", help="Weights that are pulled and verified before it is ready.")
@click.option("--copies", type=int, default=1, show_default=True, help="Engines loaded at once: one for each device.")
@click.option("--devices", default="", metavar="0,1", help="CUDA devices, one for each copy in turn.")
@click.option("--workers", type=int, help="Engine threads of a copy; as many as cores when unset.")
@click.option("--memory-limit-mb", type=int, help="An engine's process that holds more is replaced between two work units.")
@click.option("--log-dir", type=click.Path(path_type=Path), help="Where workers' logs go; a temporary folder when unset.")
@click.option("--name", help="This host's name in messages; its own when unset.")
def worker_pool(
    host: str,
    port: int,
    health_port: int | None,
    models: str,
    copies: int,
    devices: str,
    workers: int | None,
    memory_limit_mb: int | None,
    log_dir: Path | None,
    name: str | None,
) -> None:
    """Start workers for the task manager on this host, until SIGTERM. Storage and folders come from its own environment.

    \b
    Examples:
      wavemill worker-pool --models kokoro-82m-int8 --health-port 50001
      wavemill worker-pool --copies 2 --devices 0,1 --workers 1
    """
    from pipelines.cluster import pool
    from transforms import pull
    from transforms.scratch import temporary_folder
    from transforms.settings import PoolPlace

    settings = new_settings(workers=workers, memory_limit_mb=memory_limit_mb)
    wanted = [model for model in models.split(",") if model]
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with temporary_folder() as scratch:
        folder = (log_dir or scratch).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        place = PoolPlace(name=name or socket.gethostname(), folder=folder, copies=copies, devices=devices)
        state = pool.State(place.name, wanted)
        health = pool.tell_health(state, health_port) if health_port else None
        pull.pull_all(wanted, settings, Pulls())
        variables = {f"WAVEMILL_POOL_{field.upper()}": str(value) for field, value in place.model_dump().items()}
        variables |= {"WAVEMILL_WORKERS": str(settings.workers), "WAVEMILL_MEMORY_LIMIT_MB": str(settings.memory_limit_mb)}
        server = pool.serve(pool.Pool(state, folder, {**os.environ, **variables, "PYTHONSAFEPATH": "1"}), host, port)
        state.ready = True
        say(f"ready: workers for {host}:{port}, logs in {folder}")
        ended.wait()
        state.ready = False
        server.stop(0)
        pool.stop(state)
        if health:
            health.shutdown()
