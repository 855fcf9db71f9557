"""Workers of one group that are killed, join and leave at random moments of their work, and come back when they die."""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from benchmarks.topics import Stream
from benchmarks.witness import Witness

NAMED = ("w0", "w1", "w2")
CRASHED = 139
"""What echo ends with where a message kills it."""
Start = Callable[..., subprocess.Popen[bytes]]


class Fleet:
    """Three named workers, and others that come and go; `start` gives one, by the flags `--worker NAME` or by none."""

    def __init__(self, stream: Stream, start: Start) -> None:
        self.stream, self.start = stream, start
        self.living: dict[str, subprocess.Popen[bytes]] = {}
        self.counts: Counter[str] = Counter()
        self.codes: list[int] = []
        for name in NAMED:
            self._begin(name)

    def _begin(self, name: str) -> None:
        self.living[name] = self.start(*(("--worker", name) if name in NAMED else ()))

    def tend(self) -> None:
        """Start again those that died by themselves."""
        for name, worker in list(self.living.items()):
            if worker.poll() is not None:
                self.counts["workers that a message killed"] += 1
                self._begin(name)

    def kill(self, chance: random.Random) -> None:
        name = chance.choice(NAMED)
        if self.living[name].poll() is None:  # else it died by itself this moment, and is another's to count
            self.counts["workers killed"] += 1
        self.stream.kill(self.living[name])
        self._begin(name)

    def join(self, name: str) -> None:
        self.counts["workers that joined"] += 1
        self._begin(name)

    def leave(self, name: str) -> None:
        self.counts["workers that left"] += 1
        self._stop(name)

    def _stop(self, name: str) -> None:
        """An orderly end. One that has not joined its group yet has nothing to end, and one may die of a message meanwhile."""
        while "group" not in self.stream.log(self.living[name]):
            self.tend()
            time.sleep(0.1)
        code = self.stream.stop(self.living.pop(name))
        if code == CRASHED:
            self.counts["workers that a message killed"] += 1
        else:
            self.codes.append(code)

    def stop(self) -> None:
        for name in list(self.living):
            self._stop(name)

    def marks_found(self) -> int:
        """How often a worker took up a partition in the midst of what a dead one had begun."""
        return sum(self.stream.log(worker).count("workers ended over") for worker in self.stream.workers)


def churn(fleet: Fleet, witness: Witness, count: int, kills: int, guests: int, chance: random.Random) -> None:
    """Kills, and guests that join and leave, each once a random share of `count` messages is answered; then all are waited for."""
    events: list[tuple[float, Callable[[], None]]] = [(chance.uniform(0.02, 0.9), partial(fleet.kill, chance)) for _ in range(kills)]
    for number in range(guests):
        joins, leaves = sorted(chance.uniform(0.02, 0.95) for _ in range(2))
        events += [(joins, partial(fleet.join, f"guest {number}")), (leaves, partial(fleet.leave, f"guest {number}"))]
    for share, act in sorted(events, key=lambda event: event[0]):
        witness.wait_for_all(int(share * count), fleet.tend)
        act()
    witness.wait_for_all(count, fleet.tend)
