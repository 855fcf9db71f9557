"""1, 2 and 4 workers over an engine that only waits: a tenth of a second a message, one at a time.

Every worker has as many partitions and messages as each other. Time is from before the first message is sent to the last outcome's
time stamp; all workers are in the group and have answered something before.
"""

from __future__ import annotations

import time

from benchmarks.delivery_messages import made
from benchmarks.measure import table, verdict
from benchmarks.topics import Stream, a_broker, claim, wait_for
from benchmarks.witness import Witness, exact

PARTITIONS, LEAST = 8, 0.9


def rate(stream: Stream, workers: int, each: int, delay_s: float) -> float:
    """Messages a second, `each` for every worker. Raises RuntimeError where one has not one outcome."""
    witness = Witness(stream)
    stream.send([claim("x", "first", delay_s=0.01)] * 8 * PARTITIONS, partitions=PARTITIONS)
    for _ in range(workers):
        stream.start("--max-poll", "8", "--workers", "1")
    wait_for(lambda: list(witness.members().values()) == [PARTITIONS // workers] * workers)
    wait_for(lambda: witness.group_offsets() == dict.fromkeys(range(PARTITIONS), 8))
    count = each * workers
    values = [claim(f"line {index}", str(index), delay_s=delay_s) for index in range(count)]
    began_s = time.time()
    stream.send(values, partitions=PARTITIONS)
    with witness.watching(2.0):
        witness.wait_for_all(count + 8 * PARTITIONS)
    for worker in stream.workers:
        stream.stop(worker)
    if not exact(account := witness.account()):
        raise RuntimeError(str(account))
    took_s = max(one.at_s for found in witness.outcomes.values() for one in found) - began_s
    witness.close()
    return count / took_s


def report(each: int = 240, delay_s: float = 0.1) -> str:
    with a_broker() as (broker, folder):
        rates = {
            workers: rate(Stream(broker.servers, f"scale-{workers}", made(folder / f"{workers}"), PARTITIONS), workers, each, delay_s)
            for workers in (1, 2, 4)
        }
    shares = {workers: found / rates[1] / workers for workers, found in rates.items()}
    rows = [[workers, f"{found:.2f}", f"{shares[workers]:.2f}"] for workers, found in rates.items()]
    figures = table(["workers", "messages a second", "of linear"], rows)
    return f"{figures}\n\n{verdict(f'at least {LEAST:g} of linear', min(shares.values()) >= LEAST)}"
