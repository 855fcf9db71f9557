"""`make prove-stream`: workers killed, joining and leaving, poison and duplicates among thousands of messages; and what a message costs.

An independent reader of committed messages counts: every message has exactly one outcome.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, machine, table, verdict
from benchmarks.topics import Stream, claim, doubled, wait_for
from pipelines.dev import kafka, process, services
from pipelines.stream.desk import Desk
from pipelines.stream.spec import StreamSpec
from sources.kafka import Message
from transforms.settings import Settings

PAGE = ROOT / "docs/delivery.md"
MEASURED = "<!-- measured -->\n"
POISON_EVERY, TWICE_EVERY = 50, 20


def prove(stream: Stream, count: int, kills: int, seed: int) -> dict[str, Any]:
    """Three workers over `count` messages; one is killed and another started, `kills` times."""
    chance = random.Random(seed)
    values, bad = [], 0
    for index in range(count):
        if index % POISON_EVERY == 0:
            values.append(chance.choice([b"{", claim("please fail", str(index), fail_on="fail")]))
            bad += 1
        else:
            told = index - 1 if index % TWICE_EVERY == 1 and index > 1 else index
            values.append(claim(f"line {told}", str(index), delay_s=0.005))
    stream.send(values, keys=200)
    began_s = time.monotonic()
    names = [f"w{number}" for number in range(3)]
    flags = ("--max-poll", "16", "--workers", "1")
    workers = {name: stream.start(*flags, "--worker", name) for name in names}
    for _ in range(kills):
        name = chance.choice(names)
        wait_for(partial(_runs, stream, workers[name]))
        time.sleep(chance.uniform(0.2, 3.0))
        stream.kill(workers[name])
        workers[name] = stream.start(*flags, "--worker", name)
    joined = stream.start(*flags)
    left = stream.stop(workers.pop("w2"))
    replies = stream.replies(count, 600)
    wall_s = time.monotonic() - began_s
    codes = [stream.stop(worker) for worker in [*workers.values(), joined]]
    committed = {number: found.offset for number, found in stream.committed().items() if found}
    places = {(reply["source"]["partition"], reply["source"]["offset"]) for reply in replies}
    wanted = {(number, offset) for number, end in stream.ends().items() for offset in range(end)}
    statuses = Counter(reply["status"] for reply in replies)
    return {
        "messages": count,
        "kills": kills,
        "partitions found in the midst of work": sum(stream.log(worker).count("workers ended over") for worker in stream.workers),
        "results": statuses["done"],
        "failures": f"{statuses['failed']} of {bad}",
        "without an outcome": len(wanted - places),
        "with two": len(doubled(replies)),
        "group at the end": committed == {number: end for number, end in stream.ends().items() if end},
        "exit codes": " ".join(map(str, [left, *codes])),
        "wall, s": round(wall_s, 1),
    }


def _runs(stream: Stream, worker: subprocess.Popen[bytes]) -> bool:
    return "group" in stream.log(worker)


def overhead(stream: Stream, count: int, batch: int) -> tuple[float, float]:
    """Milliseconds a message, through the topics and without them (engine and blob store alone), `batch` at a time."""
    values = [claim(f"line {index}", str(index)) for index in range(count)]
    options = {"format": "wav", "piece_s": 0.05}
    spec = StreamSpec("synthesize", "echo", options, "a", "b", "c", "g", str(stream.folder / "alone"))
    desk = Desk(spec, Settings(pull=False, workers=2), threading.Event())
    messages = [Message("a", 0, index, None, value, ()) for index, value in enumerate(values)]
    began_s = time.perf_counter()
    for start in range(0, count, batch):
        desk.answer(messages[start : start + batch])
    alone_ms = (time.perf_counter() - began_s) / count * 1000
    desk.close()
    worker = stream.start("--max-poll", str(batch))
    stream.send([claim("first")])
    wait_for(lambda: any(found and found.offset for found in stream.committed().values()))
    before = sum(found.offset for found in stream.committed().values() if found)
    stream.send(values)
    began_s = time.perf_counter()
    wait_for(lambda: sum(found.offset for found in stream.committed().values() if found) >= before + count, 300)
    streamed_ms = (time.perf_counter() - began_s) / count * 1000
    stream.stop(worker)
    return streamed_ms, alone_ms


def scale(servers: str, folder: Path, workers: int, count: int, delay_s: float) -> float:
    """Messages a second with so many workers over an engine that only waits, from the first committed one on."""
    place = folder / f"scale-{workers}"
    place.mkdir()
    stream = Stream(servers, f"scale-{workers}", place, partitions=8)
    stream.send([claim("x", "warm", delay_s=0.01)] * 64, keys=64)
    for _ in range(workers):
        stream.start("--max-poll", "8", "--workers", "1")
    time.sleep(12)  # all have their partitions
    stream.send([claim(f"line {index}", str(index), delay_s=delay_s) for index in range(count)], keys=4096)
    began_s = time.monotonic()
    wait_for(lambda: sum(found.offset for found in stream.committed().values() if found) >= count + 64, 600)
    took_s = time.monotonic() - began_s
    for worker in stream.workers:
        stream.stop(worker)
    return count / took_s


def main() -> int:
    count, kills = (int(word) for word in (sys.argv[1:3] or ("10000", "20")))
    with tempfile.TemporaryDirectory(prefix="wavemill-prove-") as name:
        folder = Path(name)
        (folder / "kafka").mkdir()
        running = services.start("kafka", folder / "kafka", kafka.choose_ports())
        servers = kafka.environment(running.ports)["KAFKA_BOOTSTRAP_SERVERS"]
        try:
            found = prove(Stream(servers, "prove", _made(folder / "prove"), partitions=6), count, kills, 7)
            costs = [overhead(Stream(servers, f"cost-{n}", _made(folder / f"cost-{n}")), 1_000, 32) for n in range(3)]
            rates = {workers: scale(servers, folder, workers, 150 * workers, 0.1) for workers in (1, 2, 4)}
        finally:
            process.stop(running, patience_s=5)
    streamed, alone = (statistics.median(column) for column in zip(*costs, strict=True))
    exact = not found["without an outcome"] and not found["with two"] and bool(found["group at the end"])
    shares = {workers: rate / rates[1] / workers for workers, rate in rates.items()}
    text = "\n\n".join(
        [
            "## Measured",
            f"{machine()}; Apache Kafka {kafka.VERSION}, one broker on the same machine; `make prove-stream`.",
            f"{(__doc__ or '').split(chr(10), 1)[1].strip()} One in {POISON_EVERY} messages is broken or fails, one in {TWICE_EVERY} is said twice.",
            table(list(found), [list(found.values())]),
            verdict("every message exactly one outcome", exact),
            table(
                ["ms a message, batches of 32", "engine and blob store alone", "difference"],
                [[f"{streamed:.2f}", f"{alone:.2f}", f"{streamed - alone:.2f}"]],
            ),
            verdict("at most 5 ms beyond engine and blob store", streamed - alone <= 5),
            table(
                ["workers", "messages a second, each waits .1 s", "of linear"],
                [[w, f"{r:.2f}", f"{shares[w]:.2f}"] for w, r in rates.items()],
            ),
            verdict("at least .9 of linear", min(shares.values()) >= 0.9),
        ]
    )
    page = PAGE.read_text()
    PAGE.write_text(f"{page[: page.index(MEASURED)]}{MEASURED}\n{text}\n")
    sys.stdout.write(f"{text}\n")
    return 0 if exact else 1


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
