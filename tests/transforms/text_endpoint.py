"""A real HTTP server in a thread that answers as an OpenAI-compatible endpoint does, or as a script of answers says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, bytes]


def said(text: Any, **more: Any) -> Answer:
    """What a good endpoint answers."""
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}], **more}).encode()


def echo(body: dict[str, Any]) -> Answer:
    return said(f"<{body['messages'][-1]['content']}>", usage={"completion_tokens": 7})


@dataclass
class Endpoint:
    """`answers` are given in order, then `usual` ones; `hold` keeps every answer back while it is not set.

    With `drop_s` an answer comes a byte at a time, so many seconds apart; `encoding` is what it says of its bytes.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    usual: Callable[[dict[str, Any]], Answer] = echo
    drop_s: float = 0.0
    encoding: str = ""
    hold: threading.Event = field(default_factory=threading.Event)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[Endpoint]:
    """The endpoint, running while the context is open."""
    endpoint = Endpoint()
    endpoint.hold.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            endpoint.bodies.append({"path": self.path, **body})
            endpoint.headers.append(dict(self.headers))
            endpoint.hold.wait(30)
            status, data = endpoint.answers.pop(0) if endpoint.answers else endpoint.usual(body)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if endpoint.encoding:
                self.send_header("Content-Encoding", endpoint.encoding)
            self.end_headers()
            for drop in (data[n : n + 1] for n in range(len(data))) if endpoint.drop_s else (data,):
                self.wfile.write(drop)
                time.sleep(endpoint.drop_s)

        def log_message(self, *args: Any) -> None:
            """Tests print nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            """Who was made to wait has left."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield endpoint
    finally:
        endpoint.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()
