"""A loaded engine with its threads: the chain of steps that batch units and a stream's micro-batches go through."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from sinks import blobs
from transforms import steps
from transforms.engine import Engine, Place
from transforms.operations import operation
from transforms.records import Failure, Item, Outcome, Work
from transforms.settings import Settings
from transforms.store import Store


class WarmEngine:
    """One per process. `work` may be called by several threads at once; they share the engine's threads.

    Making one raises `model_missing`, `weights_mismatch` or `engine_unloadable`.
    """

    def __init__(self, engine: Engine, store: Store, settings: Settings, stop: threading.Event, on_pieces: steps.OnPieces | None) -> None:
        self.engine, self.store, self.settings, self.stop, self.on_pieces = engine, store, settings, stop, on_pieces
        self.row = operation(engine.operation)
        self.threads = settings.workers if engine.parallel == "threads" else 1
        engine.load(Place(settings.device, self.threads, settings.models_dir))
        self.engine_pool = ThreadPoolExecutor(self.threads, "engine")
        self.read_pool = ThreadPoolExecutor(8, "read")

    def work(self, items: Sequence[Item]) -> tuple[list[Outcome], list[float]]:
        """Each item's outcome, its outputs in the store, and the compute seconds it took.

        Raises `Stopped` within a piece once `stop` is set, and errors of the system.
        """
        engine, row, settings = self.engine, self.row, self.settings
        flow: steps.Flow = [Work(item, None) for item in items]
        flow = steps.check(flow, row, engine, settings)
        flow = steps.fetch(flow, row, engine, settings, self.read_pool if "audio" in row.inputs.values() else None)
        flow = steps.split(flow, row, engine)
        flow = steps.infer(flow, engine, self.engine_pool, self.stop, self.on_pieces)
        seconds = [0.0 if isinstance(work, Failure) else work.payload.seconds for work in flow]
        flow = steps.join(flow, row, engine)
        flow = steps.encode(flow)
        flow = blobs.store(flow, self.store)
        return [work if isinstance(work, Failure) else work.payload for work in flow], seconds

    def close(self) -> None:
        for pool in (self.read_pool, self.engine_pool):
            pool.shutdown(wait=True, cancel_futures=True)
        self.engine.close()
