"""What a message costs beyond engine and blob store, in batches of 32: a running worker and the same steps called in this process, in turn.

Each line is a tone of .05 s, written as a WAV file and synced to the disk. Through the topics, time is from before the first message
is sent to the last outcome's time stamp; without them, of the calls alone.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence

from benchmarks.delivery_messages import made
from benchmarks.measure import spread, table, verdict
from benchmarks.topics import Stream, a_broker, claim
from benchmarks.witness import Witness
from pipelines.warm import WarmEngine
from transforms import identity
from transforms.engine import engine_class
from transforms.records import Input, Item
from transforms.settings import Settings
from transforms.store import Store

BATCH, MOST_MS = 32, 5.0


class Direct:
    """Engine and blob store, called as a worker calls them."""

    def __init__(self, folder: str) -> None:
        self.engine = engine_class("synthesize", "echo")()
        self.store = Store(folder)
        self.options = self.engine.Options.parse({"format": "wav", "piece_s": 0.05})
        self.prefix = identity.prefix(self.engine, self.options)
        self.warm = WarmEngine(self.engine, self.store, Settings(pull=False, workers=2), threading.Event(), None)

    def work(self, texts: Sequence[str]) -> float:
        """Seconds."""
        inputs = [{"text": Input("text", text)} for text in texts]
        items = [Item(identity.key(self.prefix, one), "", "synthesize", "echo", self.options, one) for one in inputs]
        began_s = time.perf_counter()
        for start in range(0, len(items), BATCH):
            self.warm.work(items[start : start + BATCH])
            self.store.flush()
        return time.perf_counter() - began_s


def compare(stream: Stream, rounds: int, count: int) -> list[tuple[float, float]]:
    """Milliseconds a message through the topics and by direct calls, in each round."""
    direct, witness = Direct(str(stream.folder / "direct")), Witness(stream)
    worker = stream.start("--max-poll", str(BATCH))
    found = []
    with witness.watching(1.0):
        for number in range(rounds + 1):
            texts = [f"round {number}, line {index}" for index in range(count)]
            before = set(witness.outcomes)
            began_s = time.time()
            stream.send([claim(text) for text in texts], partitions=4)
            witness.wait_for_all(count * (number + 1))
            streamed_s = max(one.at_s for place, (one, *_) in list(witness.outcomes.items()) if place not in before) - began_s
            found.append((streamed_s / count * 1000, direct.work(texts) / count * 1000))
    stream.stop(worker)
    direct.warm.close()
    witness.close()
    return found[1:]  # the first one is for warming up


def report(rounds: int = 7, count: int = 1_024) -> str:
    with a_broker() as (broker, folder):
        found = compare(Stream(broker.servers, "cost", made(folder / "cost")), rounds, count)
    streamed, alone = zip(*found, strict=True)
    beyond = [one - other for one, other in found]
    figures = table(
        ["ms a message, median (least-most)", "engine and blob store alone", "beyond them"],
        [[spread(streamed), spread(alone), spread(beyond)]],
    )
    return f"{figures}\n\n{verdict(f'at most {MOST_MS:g} ms beyond engine and blob store', statistics.median(beyond) <= MOST_MS)}"
