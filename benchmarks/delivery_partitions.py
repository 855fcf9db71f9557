"""A topic that gets more partitions while two workers read it, with messages in the new ones at once."""

from __future__ import annotations

import time

from confluent_kafka.admin import AdminClient, NewPartitions

from benchmarks.delivery_messages import made, told
from benchmarks.measure import verdict
from benchmarks.topics import Stream, a_broker, claim, wait_for
from benchmarks.witness import Outcome, Witness

FOUND_S = 20.0
"""Clients ask for the topic's partitions every 10 s (`NEW_PARTITIONS_MS` in `sources/kafka.py`), then share them out."""


def prove(stream: Stream, before: int, after: int, each: int) -> tuple[dict[str, object], float]:
    """The account, and the seconds from growing to the last outcome of a message in a new partition."""
    witness = Witness(stream)

    def send(start: int, count: int, partitions: int) -> dict[tuple[int, int], Outcome]:
        names = [str(index) for index in range(start, start + count)]
        places = stream.send([claim(f"line {name}", name, delay_s=0.02) for name in names], partitions=partitions)
        return {place: Outcome(name, "") for place, name in zip(places, names, strict=True)}

    with witness.watching():
        workers = [stream.start("--max-poll", "8", "--workers", "1") for _ in range(2)]
        wait_for(lambda: list(witness.members().values()) == [before // 2] * 2)
        expected = send(0, before * each, before)
        witness.wait_for_all(len(expected) // 2)
        admin = AdminClient({"bootstrap.servers": stream.servers, "log_level": 0})
        admin.create_partitions([NewPartitions(stream.input, after)])[stream.input].result()
        grown_s = time.time()
        expected |= send(len(expected), after * each, after)
        witness.wait_for_all(len(expected))
        shares = sorted(witness.members().values())
    codes = [stream.stop(worker) for worker in workers]
    account = witness.account(expected)
    found_s = max(one.at_s for (number, _), found in witness.outcomes.items() if number >= before for one in found) - grown_s
    witness.close()
    return account | {
        "partitions": f"{before}, then {after}",
        "partitions of each worker at the end": " ".join(map(str, shares)),
        "seconds from their making to the last answer in a new one": round(found_s, 1),
        "exit codes of workers that were told to stop": " ".join(map(str, codes)),
    }, found_s


def report() -> str:
    with a_broker() as (broker, folder):
        stream = Stream(broker.servers, "grows", made(folder / "grows"), 2)
        account, found_s = prove(stream, 2, 6, 100)
    return f"{told(account)}\n\n{verdict(f'messages of new partitions are answered within {FOUND_S:g} s', found_s <= FOUND_S)}"
