"""The process beside a task manager that starts Beam workers for it, and tells of their health.

The task manager asks for a worker and then waits for it without end. So a worker that dies before it is connected is an
answer here, with the end of its log, and not a silence.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import psutil
from apache_beam.portability.api import beam_fn_api_pb2 as api, beam_fn_api_pb2_grpc as rpc
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

from pipelines.cluster import versions
from pipelines.supervised import cause
from transforms.errors import WavemillError

CONNECT_PATIENCE_S = 90.0
TAIL = 15


@dataclass(slots=True)
class Worker:
    """One Beam worker process; its engine's process is its child."""

    id: str
    process: subprocess.Popen[bytes]
    log: Path

    def memory_mb(self) -> int:
        """What it and its children hold."""
        total = 0
        with suppress(psutil.NoSuchProcess):
            me = psutil.Process(self.process.pid)
            for one in (me, *me.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    total += one.memory_info().rss
        return total >> 20


@dataclass(slots=True)
class State:
    """What a pool tells at its health endpoint."""

    name: str
    models: list[str]
    ready: bool = False
    workers: list[Worker] = field(default_factory=list)
    started: int = 0
    ended: dict[str, int] = field(default_factory=dict)
    """How workers ended, and how many did so."""

    def describe(self) -> dict[str, Any]:
        workers = [{"id": one.id, "pid": one.process.pid, "memory_mb": one.memory_mb(), "log": str(one.log)} for one in list(self.workers)]
        facts = {"name": self.name, "ready": self.ready, "models": self.models, "versions": versions.mine()}
        return facts | {"workers": workers, "started": self.started, "ended": self.ended}


class Pool(rpc.BeamFnExternalWorkerPoolServicer):
    """Starts workers in the environment of this Python, whatever is on the PATH."""

    def __init__(self, state: State, folder: Path, environment: Mapping[str, str]) -> None:
        self.state, self.folder, self.environment = state, folder, environment
        self._lock = threading.Lock()
        self._name = secrets.token_hex(3)  # a worker of the pool before may still write to its log

    def StartWorker(self, request: api.StartWorkerRequest, context: grpc.ServicerContext) -> api.StartWorkerResponse:
        worker, connected = self._start(request.control_endpoint.url, request.worker_id)
        if connected:
            return api.StartWorkerResponse()
        worker.process.kill()
        why = cause(worker.process.wait())
        last = "\n".join(worker.log.read_text(errors="replace").splitlines()[-TAIL:])
        return api.StartWorkerResponse(
            error=f"a worker of the pool on {self.state.name} ended before it was connected ({why}); the end of {worker.log}:\n{last}"
        )

    def StopWorker(self, request: api.StopWorkerRequest, context: grpc.ServicerContext) -> api.StopWorkerResponse:
        """Workers end by themselves with their task manager's endpoint. Ids are not unique: every job calls its first one 1-1."""
        return api.StopWorkerResponse()

    def _start(self, control: str, worker_id: str) -> tuple[Worker, bool]:
        receive, send = os.pipe()
        with self._lock:
            self.state.started += 1
            log = self.folder / f"worker-{self._name}-{self.state.started}.log"
            command = [sys.executable, "-P", "-m", "pipelines.cluster.worker", control, worker_id, str(send)]
            with log.open("wb") as output:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(send,), env={**self.environment}
                )
            worker = Worker(worker_id, process, log)
            self.state.workers.append(worker)
        os.close(send)
        ready, _, _ = select.select([receive], [], [], CONNECT_PATIENCE_S)
        connected = bool(ready and os.read(receive, 1))
        os.close(receive)
        threading.Thread(target=self._reap, args=(worker,), name=f"worker {worker_id}", daemon=True).start()
        return worker, connected

    def _reap(self, worker: Worker) -> None:
        how = cause(worker.process.wait())
        with self._lock:
            self.state.workers.remove(worker)
            self.state.ended[how] = self.state.ended.get(how, 0) + 1


def serve(pool: Pool, host: str, port: int) -> grpc.Server:
    """Listen for the task manager. Raises `bad_usage` where the port is taken."""
    server = grpc.server(shared_unbounded_instance(), options=[("grpc.so_reuseport", 0)])
    rpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise WavemillError("bad_usage", f"{host}:{port} cannot be listened on ({error}); is there a pool already?", "port") from None
    server.start()
    return server


def tell_health(state: State, port: int) -> ThreadingHTTPServer:
    """Answer GET on any path: 200 when the pool is ready, else 503, and what there is to know as JSON. Raises `bad_usage`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(state.describe()).encode()
            self.send_response(200 if state.ready else 503)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every few seconds."""

    try:
        server = ThreadingHTTPServer(("", port), Answer)
    except OSError as error:
        raise WavemillError("bad_usage", f"port {port} cannot be listened on ({error})", "health-port") from None
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def stop(state: State, patience_s: float = 10.0) -> None:
    """End every worker; what they had open is begun again elsewhere."""
    for worker in list(state.workers):
        worker.process.terminate()
    deadline = time.monotonic() + patience_s
    for worker in list(state.workers):
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
