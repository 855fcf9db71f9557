"""The only broker, killed with SIGKILL in the midst of the work of two workers and started again on the log that it left."""

from __future__ import annotations

import random
import time

from benchmarks.delivery_messages import KEYS, cheap, made, told
from benchmarks.topics import Broker, Stream, a_broker
from benchmarks.witness import Witness


def prove(broker: Broker, stream: Stream, count: int, kills: int, chance: random.Random, delay_s: float) -> dict[str, object]:
    """The account after the broker was killed once random shares of the messages were answered, each time for a random while."""
    sent = cheap(count, 0, chance, delay_s)
    places = stream.send([one.value for one in sent], keys=KEYS)
    witness = Witness(stream)
    away_s = 0.0
    with witness.watching():
        workers = [stream.start("--max-poll", "16", "--workers", "1", "--worker", f"w{number}") for number in range(2)]
        for share in sorted(chance.uniform(0.05, 0.9) for _ in range(kills)):
            witness.wait_for_all(int(share * count))
            broker.kill()
            began_s = time.monotonic()
            time.sleep(chance.uniform(0.5, 8.0))
            broker.start_again()
            away_s += time.monotonic() - began_s
        witness.wait_for_all(count)
    alive = sum(worker.poll() is None for worker in workers)
    codes = [stream.stop(worker) for worker in workers]
    account = witness.account(dict(zip(places, (one.outcome for one in sent), strict=True)))
    witness.close()
    return account | {
        "times that the broker was killed": kills,
        "seconds that it was away": round(away_s),
        "workers that lived through it": f"{alive} of {len(workers)}",
        "exit codes of workers that were told to stop": " ".join(map(str, codes)),
    }


def report(count: int = 2_000, kills: int = 3) -> str:
    with a_broker() as (broker, folder):
        stream = Stream(broker.servers, "broker", made(folder / "broker"), 6)
        return told(prove(broker, stream, count, kills, random.Random(5), 0.03))
