"""Messages of one topic through two workers of a group, one on each of two hosts. The second host is cut off the network and comes back.

The broker is on the head host; outputs go to a disk that both hosts have, so that who is cut off can finish the batch in hand. The group has
given that to the other worker meanwhile, and what the first would commit of it is refused. It is away for longer than the session that the group
gives it (10 s), and shorter than the 20 s after which it gives a transaction up itself. One message in twenty comes twice, every fiftieth is poison.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
from pathlib import Path

from benchmarks.delivery_messages import KEYS, PARTITIONS, cheap, told
from benchmarks.hosts import Hosts
from benchmarks.measure import verdict
from benchmarks.topics import Stream, end_workers, wait_for
from benchmarks.witness import Witness

LOST = 2
"""The host that is cut off."""
REFUSED = ("CommitFailedError", "UnknownMemberIdError", "IllegalGenerationError", "FencedInstanceIdError", "ProducerFencedError")
"""What is raised where a broker refuses who commits for a group that has given its partitions to others (KIP-447)."""
FENCED = "transactions of the host that came back that the broker refused"


def prove(hosts: Hosts, count: int, cut_s: float, delay_s: float = 0.03) -> dict[str, object]:
    """The account of all messages; the host is away for `cut_s` once a fifth of them is answered."""
    chance, name = random.Random(11), f"hosts-{time.time():.0f}"
    sent = cheap(count, 0, chance, delay_s)
    with tempfile.TemporaryDirectory(prefix="wavemill-prove-") as folder:
        environment = hosts.environment()
        stream = Stream(environment["KAFKA_BOOTSTRAP_SERVERS"], name, Path(folder), PARTITIONS)
        stream.environment = environment
        places = stream.send([one.value for one in sent], keys=KEYS)
        witness = Witness(stream)
        flags = ("--max-poll", "16", "--workers", "1")
        workers = {host: stream.start(*flags, "--worker", f"host{host}", within=hosts.cluster.within(str(host))) for host in (1, LOST)}
        try:
            with witness.watching():
                witness.wait_for_all(count // 5)
                shared = sorted(witness.members().values())
                hosts.script.cut(hosts.cluster, LOST)
                cut_at_s = time.time()
                time.sleep(cut_s)
                hosts.script.cut(hosts.cluster, LOST, connected=True)
                back_at_s = time.time()
                meanwhile = len(witness.outcomes)
                wait_for(lambda: len(witness.members()) == 2, 120.0)
                returned_s = time.time() - back_at_s
                witness.wait_for_all(count)
            codes = [stream.stop(worker) for worker in workers.values()]
            account = witness.account(dict(zip(places, (one.outcome for one in sent), strict=True)))
        finally:
            end_workers()
            witness.close()
        ended = re.findall(r"transaction: (\w+)", stream.log(workers[LOST]))
        times = [found[0].at_s for found in witness.outcomes.values()]
        return account | {
            "partitions of each host before": " and ".join(map(str, shared)),
            "seconds of the cut": round(back_at_s - cut_at_s),
            "answered meanwhile": sum(cut_at_s < at_s <= back_at_s for at_s in times),
            "answered when the host was back": meanwhile,
            "seconds until both had partitions again": round(returned_s, 1),
            FENCED: sum(one in REFUSED for one in ended),
            "transactions of it that it gave up itself": sum(one not in REFUSED for one in ended),
            "exit codes of workers that were told to stop": " ".join(map(str, codes)),
        }


def report(hosts: Hosts) -> str:
    account = prove(hosts, 5_000, 15.0)
    return f"{told(account)}\n\n{verdict('what the host that came back would commit is refused', bool(account[FENCED]))}"
