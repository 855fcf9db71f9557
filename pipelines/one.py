"""One or a few items at once: the steps of a run in this process, without Beam and without an OUT."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from transforms import identity, pull, steps
from transforms.engine import Engine, Place, engine_class
from transforms.errors import WavemillError
from transforms.operations import Operation, operation
from transforms.options import Options
from transforms.records import Failure, Input, Item, Outcome, Work
from transforms.settings import Settings

OnBytes = Callable[[str, int, int | None], None]


def run_items(
    operation_name: str,
    engine_name: str,
    options: Options,
    inputs: Sequence[Mapping[str, Input]],
    settings: Settings,
    on_pieces: steps.OnPieces | None = None,
    on_bytes: OnBytes | None = None,
) -> Iterator[Outcome]:
    """The outcome of each item in order, its outputs `Encoded`. `on_bytes` hears of weights on their way.

    Items are worked as many at a time as the engine has threads; the model is loaded when the first needs it. Raises
    `bad_usage` for options that cannot work with any item, and errors of the system. Closing the iterator stops the work
    within a piece.
    """
    row = operation(operation_name)
    engine = engine_class(row.name, engine_name)()
    check_options(row, engine, options)
    shared = identity.prefix(engine, options)
    items = [Item(identity.key(shared, given), str(index), row.name, engine.name, options, given) for index, given in enumerate(inputs)]
    threads = settings.workers if engine.parallel == "threads" else 1
    stop, loaded = threading.Event(), False
    try:
        with ThreadPoolExecutor(threads, "engine") as pool:
            try:
                for start in range(0, len(items), threads):
                    flow: steps.Flow = [Work(item, None) for item in items[start : start + threads]]
                    flow = steps.check(flow, row, engine, settings)
                    flow = steps.fetch(flow, row, engine, settings, pool)
                    flow = steps.split(flow, row, engine)
                    if not loaded and any(isinstance(work, Work) for work in flow):
                        pull.pull_all(engine.models(options), settings, on_bytes)
                        engine.load(Place(settings.device, threads, settings.models_dir))
                        loaded = True
                    yield from _finish(flow, row, engine, pool, stop, on_pieces)
            except BaseException:
                stop.set()
                raise
    finally:
        if loaded:
            engine.close()  # after the pool has ended: no thread is in it any more


def _finish(
    flow: steps.Flow,
    row: Operation,
    engine: Engine,
    pool: Executor,
    stop: threading.Event,
    on_pieces: steps.OnPieces | None,
) -> Iterator[Outcome]:
    flow = steps.infer(flow, engine, pool, stop, on_pieces)
    flow = steps.encode(steps.join(flow, row, engine))
    for work in flow:
        yield work if isinstance(work, Failure) else work.payload


def check_options(row: Operation, engine: Engine, options: Options) -> None:
    """Refuse an unknown voice or language before anything is read. Raises `bad_usage`."""
    try:
        engine.check(Item("", "", row.name, engine.name, options, {}))
    except WavemillError as error:
        raise WavemillError("bad_usage", error.detail, error.field) from None
