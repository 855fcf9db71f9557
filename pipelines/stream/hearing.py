"""What chunks and sessions are decoded and heard by: in this process, or apart in a child process that they may kill."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from pipelines.stream.spec import StreamSpec
from pipelines.supervised import DEATHS, cause
from sources import chunks
from transforms import steps
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.options import Options
from transforms.records import Audio, Failure, Item, Outcome, Piece, Work
from transforms.settings import Settings


class Heard(NamedTuple):
    """What is to be heard of a session: mono at 16 kHz, in its language where that is known."""

    name: str
    audio: Audio
    language: str | None


def hear(engine: Engine, options: Options, given: Sequence[Heard], stop: threading.Event | None = None) -> list[Outcome]:
    """A transcript of each, by a loaded engine. Raises `Stopped`, and errors of the system."""
    works: steps.Flow = []
    for name, audio, language in given:
        known = language and getattr(options, "language", None) is None
        used = options.model_copy(update={"language": language}) if known else options
        item = Item("", name, engine.operation, engine.name, used, {})
        works.append(Work(item, [Piece({"audio": audio}, used, 0)]))
    flow = steps.infer(works, engine, None, stop)
    return [work if isinstance(work, Failure) else work.payload.results[0] for work in flow]


class Apart:
    """The same in a child process, one thing after another. What kills the child raises `engine_crashed`; the next has a new one."""

    def __init__(self, spec: StreamSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        self.closed = False
        self.process: Any = None
        self._pipe: Connection | None = None
        self._one = threading.Lock()

    def decode(self, chunk: chunks.ChunkMessage) -> np.ndarray:
        """As `chunks.samples_of`."""
        samples: np.ndarray = self._ask(chunk)
        return samples

    def hear(self, given: Heard) -> Outcome:
        """As `hear`."""
        try:
            outcome: Outcome = self._ask(given)
        except WavemillError as error:
            return steps.failure_of(error)
        return outcome

    def _ask(self, what: chunks.ChunkMessage | Heard) -> Any:
        with self._one:
            if self.closed:
                raise steps.Stopped
            pipe = self._pipe or self._start()
            try:
                pipe.send(what)
                answer = pipe.recv()
            except (EOFError, OSError):
                why = self._end()
                if self.closed:
                    raise steps.Stopped from None
                detail = f"its worker died {DEATHS} times over it or what stood beside it, and then a process of its own ({why})"
                raise WavemillError("engine_crashed", detail) from None
        if isinstance(answer, WavemillError):
            raise answer
        return answer

    def _start(self) -> Connection:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, other = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(other, self.spec, self.settings), name="apart", daemon=True)
        self.process.start()
        other.close()  # so that its end is seen
        return self._pipe

    def _end(self) -> str:
        assert self._pipe
        self.process.join()
        self._pipe.close()
        self._pipe = None
        return cause(self.process.exitcode)

    def close(self) -> None:
        """At once: who waits for an answer gets `Stopped`."""
        self.closed = True
        if self.process:
            self.process.kill()
            self.process.join()


def _serve(pipe: Connection, spec: StreamSpec, settings: Settings) -> None:
    """The child: it answers until its parent is gone."""
    for number in (signal.SIGINT, signal.SIGTERM):  # a service manager tells every process; the parent ends this one
        signal.signal(number, signal.SIG_IGN)
    engine = spec.new_engine()
    options = engine.Options.parse(dict(spec.options))
    loaded = False
    with suppress(EOFError, OSError):
        while True:
            asked = pipe.recv()
            answer: Outcome | np.ndarray
            try:
                if isinstance(asked, Heard):
                    if not loaded:
                        engine.load(Place(settings.device, 1, settings.models_dir))
                        loaded = True
                    (answer,) = hear(engine, options, [asked])
                else:
                    answer = chunks.samples_of(asked)
            except WavemillError as error:
                pipe.send(error)
            else:
                pipe.send(answer)
