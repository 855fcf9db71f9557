"""What is seen of a worker from outside: Prometheus metrics at `/metrics`, its health at `/healthz`."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from pipelines.stream.desk import Answer

SILENT_S = 60.0
"""A loop that has not turned for so long is not healthy."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Watch:
    """Metrics are a fold over answers; `state` is what the worker is doing."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made: dict[str, Any] = {"registry": self.registry, "namespace": "wavemill", "subsystem": "stream"}
        self.messages = Counter("messages", "answered messages that are committed", ["outcome"], **made)
        self.audio = Counter("audio_seconds", "seconds of audio of committed results", **made)
        self.retries = Counter("retries", "batches put off for a fault of elsewhere", ["code"], **made)
        self.batch_s = Histogram("batch_seconds", "time from a batch's start to its answers", buckets=SECONDS, **made)
        self.commit_s = Histogram("commit_seconds", "time of a transaction", buckets=SECONDS, **made)
        self.lag = Gauge("lag_messages", "messages behind the end of a partition that is owned", ["partition"], **made)
        self.held = Gauge("held_messages", "messages in memory", **made)
        self.held_s = Gauge("held_audio_seconds", "audio that they stand for, as far as claims tell", **made)
        self.state = "starting"
        self._turned_s = time.monotonic()
        self._server: WSGIServer | None = None

    def turn(self, held: int, held_s: float, lag: Mapping[int, int]) -> None:
        """The loop has turned once more, with so many messages and seconds of audio in memory."""
        self._turned_s = time.monotonic()
        self.held.set(held)
        self.held_s.set(held_s)
        self.lag.clear()
        for number, behind in lag.items():
            self.lag.labels(str(number)).set(behind)

    def count(self, answers: Iterable[Answer]) -> None:
        """These answers are committed."""
        for answer in answers:
            self.messages.labels(answer.code or "done").inc()
            self.audio.inc(answer.audio_s)

    @property
    def healthy(self) -> bool:
        return self.state == "running" and time.monotonic() - self._turned_s < SILENT_S

    def serve(self, host: str, port: int) -> int:
        """Answer over HTTP from now on; the port, which is a free one for 0. Raises OSError."""
        metrics = make_wsgi_app(self.registry)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] != "/healthz":
                return metrics(environ, start_response)  # type: ignore[no-any-return]
            healthy = self.healthy
            start_response("200 OK" if healthy else "503 Service Unavailable", [("Content-Type", "application/json")])
            return [json.dumps({"healthy": healthy, "state": self.state}).encode()]

        self._server = make_server(host, port, app, handler_class=_Quiet)
        threading.Thread(target=self._server.serve_forever, name="watch", daemon=True).start()
        return self._server.server_port

    def close(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a probe comes every few seconds."""
