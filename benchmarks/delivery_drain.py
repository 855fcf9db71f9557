"""A topic that is drained by bounded runs (`wavemill run ... 'kafka://TOPIC?group=G' -o OUT`) that are killed with SIGKILL at random moments.

Once into a folder, once into topics. The last part of the messages comes after most kills. An outcome is, of a folder, a row of a
published manifest; of topics, a committed message.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.delivery_messages import KEYS, TARGET, Sent, cheap, made
from benchmarks.measure import ENVIRONMENT, WAVEMILL, table, verdict
from benchmarks.topics import Stream, a_broker
from benchmarks.witness import Outcome, Place, Witness, exact
from pipelines.batch import ranges
from transforms.store import Store

PARTITIONS = 4


class Published(Witness):
    """Of an OUT that is a folder: the rows of its manifests, which are never changed."""

    def __init__(self, stream: Stream, root: Path) -> None:
        super().__init__(stream)
        self.root = root
        self._read: set[Path] = set()

    def read(self) -> None:
        for path in sorted(set(self.root.glob("ranges/*/manifest.parquet")) - self._read):
            for row in pq.read_table(path, columns=["id", "code", "input"]).to_pylist():
                _, partition, offset = row["id"].rsplit("-", 2)
                told = {"id": json.loads(row["input"]).get("claim", ""), "code": row["code"]}
                self.count({"partition": partition, "offset": offset}, told)
            self._read.add(path)


class Drain:
    """The command, and how long it ran to its end last."""

    def __init__(self, stream: Stream, to_topic: bool, limit: int) -> None:
        self.stream, self.to_topic, self.root = stream, to_topic, stream.folder / "root"
        out = f"kafka://{stream.output}?failures={stream.failures}"
        place = ["-o", out, "--work", str(self.root)] if to_topic else ["-o", str(self.root)]
        options = [f"-O{pair}" for pair in ("format=wav", "normalize=false", "piece_s=0.05")]
        flags = ["--no-pull", "--quiet", "--workers", "1", "--unit-items", "50", "--max-failures", "100%", "--limit", str(limit)]
        source = f"kafka://{stream.input}?group={stream.group}"
        self.command = [*WAVEMILL, "run", "synthesize", source, "-e", "echo", *options, *place, *flags]
        self.runs, self.took_s = 0, 0.0

    def run(self, most_s: float) -> bool:
        """Whether it came to its end, before it was killed after `most_s`. Raises RuntimeError where that was no success."""
        self.runs += 1
        began_s = time.monotonic()
        with open(self.stream.folder / "drain.log", "wb") as log:
            environment = ENVIRONMENT | self.stream.environment | {"KAFKA_BOOTSTRAP_SERVERS": self.stream.servers}
            running = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
            )
        try:
            code = running.wait(most_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            return False
        if code:
            raise RuntimeError(f"exit code {code}: {(self.stream.folder / 'drain.log').read_text()[-3000:]}")
        self.took_s = time.monotonic() - began_s
        return True

    @property
    def open_range(self) -> bool:
        """Whether a range is stored and not done."""
        store = Store(str(self.root))
        last = ranges.last(store) if (self.root / "drain").exists() else None
        return last is not None and not store.exists(last.done)

    def witness(self) -> Witness:
        return Witness(self.stream) if self.to_topic else Published(self.stream, self.root)


def prove(stream: Stream, to_topic: bool, count: int, limit: int, kills: int, chance: random.Random, delay_s: float) -> dict[str, object]:
    """The account of `count` messages when runs of `limit` each, `kills` of them killed, have drained them."""
    sent = cheap(count, 0, chance, delay_s)
    expected: dict[Place, Outcome] = {}

    def send(some: list[Sent]) -> None:
        places = stream.send([one.value for one in some], keys=KEYS)
        expected.update(zip(places, (one.outcome for one in some), strict=True))

    late = count // 5
    send(sent[:-late])
    drain = Drain(stream, to_topic, limit)
    drain.run(600.0)
    witness = drain.witness()
    killed = begun = 0
    with witness.watching():
        most = kills + 4 * count // limit + 10  # if it does not come to its end, the account shall say so
        while drain.runs < most and (killed < kills or len(expected) < count or witness.group_offsets() != witness.ends(stream.input)):
            if killed >= kills - 2 and len(expected) < count:
                send(sent[-late:])
            if not drain.run(chance.uniform(0.3, 1.0) * drain.took_s if killed < kills else 600.0):
                killed += 1
                begun += drain.open_range
    account = witness.account(expected)
    witness.close()
    return account | {"runs": drain.runs, "runs that were killed": killed, "of them in the midst of a range": begun}


def report(count: int = 5_000, kills: int = 10) -> str:
    accounts = []
    with a_broker() as (broker, folder):
        for name in ("folder", "topics"):
            stream = Stream(broker.servers, name, made(folder / name), PARTITIONS)
            accounts.append(prove(stream, name == "topics", count, count // 5, kills, random.Random(3), 0.005))
    rows = [[name, *(account[name] for account in accounts)] for name in accounts[0]]
    return f"{table(['what', 'into a folder', 'into topics'], rows)}\n\n{verdict(TARGET, all(map(exact, accounts)))}"
