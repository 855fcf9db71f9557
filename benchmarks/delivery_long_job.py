"""A message that takes three times the poll interval (`WAVEMILL_KAFKA_POLL_INTERVAL_S`), with two workers in the group."""

from __future__ import annotations

import re

import httpx

from benchmarks.delivery_messages import made
from benchmarks.measure import table, verdict
from benchmarks.topics import Stream, a_broker, claim, wait_for
from benchmarks.witness import Witness, exact

INTERVAL_S = 4.0
METRICS = ("--metrics", "127.0.0.1:0")


def batches(stream: Stream) -> list[int]:
    """How many batches each worker has worked to their end, as it says itself."""
    found = []
    for worker in stream.workers:
        port = re.search(r"metrics and health at port (\d+)", stream.log(worker))
        text = httpx.get(f"http://127.0.0.1:{port[1]}/metrics").text if port else ""
        count = re.search(r"batch_seconds_count (\S+)", text)
        found.append(int(float(count[1])) if count else 0)
    return found


def prove(stream: Stream) -> dict[str, object]:
    stream.environment = {"WAVEMILL_KAFKA_POLL_INTERVAL_S": str(INTERVAL_S)}
    workers = [stream.start(*METRICS) for _ in range(2)]
    witness = Witness(stream)
    # both have partitions, and work: one that moves while it is worked is worked again, which is another matter
    wait_for(lambda: list(witness.members().values()) == [2, 2])
    stream.send([claim("a moment", f"{number}") for number in range(8)], partitions=4)
    wait_for(lambda: witness.group_offsets() == dict.fromkeys(range(4), 2) and all(batches(stream)))
    before, log_ends = batches(stream), [len(stream.log(worker)) for worker in workers]
    stream.send([claim("long", "long", delay_s=3 * INTERVAL_S)], partitions=4)
    with witness.watching():
        witness.wait_for_all(9)
    wait_for(lambda: sum(batches(stream)) > sum(before))
    ran = sum(batches(stream)) - sum(before)
    since = [stream.log(worker)[start:] for worker, start in zip(workers, log_ends, strict=True)]
    alive = all(worker.poll() is None for worker in workers)
    codes = [stream.stop(worker) for worker in workers]
    account = witness.account()
    witness.close()
    return account | {
        "times that the long message was worked": ran,
        "times that a worker was taken for dead": sum(log.count("workers ended") for log in since) + (not alive),
        "exit codes of workers that were told to stop": " ".join(map(str, codes)),
    }


def once(account: dict[str, object]) -> bool:
    return (
        exact(account) and account["times that the long message was worked"] == 1 and not account["times that a worker was taken for dead"]
    )


def report() -> str:
    with a_broker() as (broker, folder):
        account = prove(Stream(broker.servers, "long", made(folder / "long"), 4))
    return f"{table(['what', 'count'], list(account.items()))}\n\n{verdict('it runs once', once(account))}"
