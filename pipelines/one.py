"""One or a few items at once: the steps of a run in this process, without Beam and without an OUT."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, cast

from transforms import identity, pull, steps
from transforms.engine import Engine, Place, engine_class
from transforms.errors import WavemillError
from transforms.operations import Operation, operation
from transforms.options import AudioOptions, Options
from transforms.records import Failure, Input, Item, Outcome, Piece, Result, Work
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
    steps.check_options(engine, options)
    engine.check_installed(options)
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


def run_one(operation_name: str, engine_name: str, values: dict[str, Any], inputs: Mapping[str, Input], settings: Settings) -> Result:
    """The result of one item, its outputs `Encoded`. Raises what the item fails with, and as `run_items`."""
    options = engine_class(operation_name, engine_name).Options.parse(values)
    (outcome,) = run_items(operation_name, engine_name, options, [inputs], settings)
    return _succeeded(outcome)


def _succeeded(outcome: Outcome) -> Result:
    if isinstance(outcome, Failure):
        raise WavemillError(outcome.code, outcome.detail, outcome.field)
    return outcome


def stream_speech(
    engine_name: str, options: Options, inputs: Mapping[str, Input], settings: Settings, on_bytes: OnBytes | None = None
) -> Generator[bytes, None, None]:
    """Synthesized speech as parts of a file, the first as soon as the first sentence is spoken. Raises what the item fails with.

    The samples are those of `run_items`. Raises `bad_usage` for options that cannot be met before all is spoken.
    """
    row = operation("synthesize")
    engine = engine_class(row.name, engine_name)()
    steps.check_options(engine, options)
    engine.check_installed(options)
    if getattr(options, "loudness", None) is not None:
        raise WavemillError("bad_usage", "loudness is measured over the whole; it cannot be set while it is spoken", "loudness")
    item = Item(identity.key(identity.prefix(engine, options), inputs), "0", row.name, engine.name, options, inputs)
    flow = steps.split(steps.fetch(steps.check([Work(item, None)], row, engine, settings), row, engine, settings), row, engine)
    pieces = _payload(flow)
    pull.pull_all(engine.models(options), settings, on_bytes)
    threads = settings.workers if engine.parallel == "threads" else 1
    engine.load(Place(settings.device, threads, settings.models_dir))
    try:
        with ThreadPoolExecutor(threads, "engine") as pool:
            yield from _encoded(row, engine, item, pieces, pool, threads)
    finally:
        engine.close()


def _encoded(row: Operation, engine: Engine, item: Item, pieces: Sequence[Piece], pool: Executor, ahead: int) -> Iterator[bytes]:
    from transforms import codec
    from transforms.synthesize import stream

    stop, waiting, told = threading.Event(), iter(pieces), {}
    futures: deque[Future[Any]] = deque()

    def results() -> Iterator[Result]:
        futures.extend(pool.submit(_spoken, engine, item, piece, stop) for piece in islice(waiting, ahead))
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(_spoken, engine, item, piece, stop) for piece in islice(waiting, 1))
            told.update(result.fields)
            yield result

    try:
        spoken = stream(pieces, results(), engine)
        first = next(spoken)
        blocks = (audio.samples for audio in chain([first], spoken))
        yield from codec.encode_stream(blocks, first.rate_hz, first.channels, cast(AudioOptions, item.options), told.get("provenance", ""))
    finally:
        stop.set()
        for future in futures:
            future.cancel()


def _spoken(engine: Engine, item: Item, piece: Piece, stop: threading.Event) -> Result:
    (result,) = _payload(steps.infer([Work(item, [piece])], engine, stop=stop)).results
    return cast(Result, result)


def _payload(flow: steps.Flow) -> Any:
    """What a step made of the one item in `flow`. Raises its failure."""
    (done,) = flow
    return done.payload if isinstance(done, Work) else _succeeded(done)


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
