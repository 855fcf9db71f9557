"""Messages through workers that are killed with SIGKILL, join and leave at random moments, each once a random share of the work is done.

One message in twenty comes twice, sixteen at a time stand in another order than they were made in, every fiftieth is poison: no
claim, an item that fails, and a few that kill their worker each time. What is made of each is compared with what was sent.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.fleet import Fleet, churn
from benchmarks.measure import table, verdict
from benchmarks.topics import Stream, a_broker, claim
from benchmarks.witness import Outcome, Witness, exact

POISON_EVERY, TWICE_EVERY, TOGETHER = 50, 20, 16
PARTITIONS, KEYS = 6, 200
TARGET = "each message has one outcome, the right one, and offsets never run ahead of outcomes"


class Sent(NamedTuple):
    """A message, and the outcome that it must have."""

    value: bytes | None
    outcome: Outcome


def mixed(
    count: int, good: Callable[[int], Sent], bad: Sequence[Callable[[int], Sent]], worst: Sequence[Sent], chance: random.Random
) -> list[Sent]:
    """`count` messages: good ones, some twice and out of order, and every fiftieth a bad one; the worst in places of bad ones."""
    made: list[Sent] = []
    while len(made) < count:
        made.append(made[-1] if len(made) % TWICE_EVERY == 1 else good(len(made)))
    for start in range(0, count, TOGETHER):
        part = made[start : start + TOGETHER]
        chance.shuffle(part)
        made[start : start + TOGETHER] = part
    places = range(POISON_EVERY // 2, count, POISON_EVERY)
    for index, place in enumerate(places):
        made[place] = bad[index % len(bad)](place)
    for place, one in zip(chance.sample(list(places), len(worst)), worst, strict=True):
        made[place] = one
    return made


def cheap(count: int, killers: int, chance: random.Random, delay_s: float) -> list[Sent]:
    """Texts that take `delay_s` each."""
    bad = (
        lambda index: Sent(b"{", Outcome("", "bad_message")),
        lambda index: Sent(None, Outcome("", "bad_message")),
        lambda index: Sent(claim("please fail", f"f{index}", fail_on="fail"), Outcome(f"f{index}", "engine_error")),
        lambda index: Sent(b'{"version": 2, "inputs": {"text": "x"}}', Outcome("", "bad_message")),
        lambda index: Sent(claim("x", f"v{index}", voice="nobody"), Outcome(f"v{index}", "unknown_voice")),
    )
    worst = [Sent(claim(f"kill {n}", f"k{n}", crash_on="kill"), Outcome(f"k{n}", "engine_crashed")) for n in range(killers)]
    return mixed(
        count, lambda index: Sent(claim(f"line {index}", str(index), delay_s=delay_s), Outcome(str(index), "")), bad, worst, chance
    )


def prove(
    stream: Stream, sent: Sequence[Sent], kills: int, guests: int, chance: random.Random, *flags: str, **kind: str
) -> tuple[dict[str, object], Witness]:
    """The account of all messages when three workers and some guests have answered them; `kind` is operation and engine."""
    places = stream.send([one.value for one in sent], keys=KEYS)
    expected = {place: one.outcome for place, one in zip(places, sent, strict=True)}
    witness = Witness(stream)
    began_s = time.monotonic()
    fleet = Fleet(stream, lambda *named: stream.start(*flags, *named, **kind))
    with witness.watching():
        churn(fleet, witness, len(sent), kills, guests, chance)
    took_s = time.monotonic() - began_s
    fleet.stop()
    account = witness.account(expected)
    account |= dict(fleet.counts) | {
        "partitions taken up in the midst of a dead worker's batch": fleet.marks_found(),
        "exit codes of workers that were told to stop": " ".join(map(str, fleet.codes)),
        "seconds": round(took_s),
    }
    witness.close()
    return account, witness


def told(account: dict[str, object]) -> str:
    return f"{table(['what', 'count'], list(account.items()))}\n\n{verdict(TARGET, exact(account))}"


def report(count: int = 10_000, kills: int = 20) -> str:
    chance = random.Random(7)
    with a_broker() as (broker, folder):
        stream = Stream(broker.servers, "messages", made(folder / "messages"), PARTITIONS)
        sent = cheap(count, 3, chance, 0.03)
        account, _ = prove(stream, sent, kills, 3, chance, "--max-poll", "16", "--workers", "1")
    return told(account)


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder
