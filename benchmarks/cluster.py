"""`make prove-cluster`: real runs on a Flink cluster of two hosts, compared with local ones; what two hosts gain, what a unit costs, and kills.

A section each, written into `docs/scale-out.md` as soon as it is measured; those that are there already are left as they are.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmarks import cluster_streams, sections
from benchmarks.hosts import Hosts, Place, load
from benchmarks.measure import ROOT, table, verdict
from benchmarks.sections import Section
from transforms.pull import pull
from transforms.settings import Settings

PAGE = ROOT / "docs/scale-out.md"
MEASURED = "<!-- measured -->\n"
KILLS = 5
VICTIMS = ("host", "worker", "pool1", "tasks1", "server", "jobs")
REAL_ITEMS, FLAT_MB = 200, 20
HERE: list[Hosts] = []


def cluster(*pool_flags: str) -> Hosts:
    """The cluster, with these flags of its pools."""
    hosts = HERE[0]
    if hosts.cluster.pool_flags != list(pool_flags):
        hosts.cluster.pool_flags = list(pool_flags)
        hosts.restart("pool1", "pool2")
    _wait(hosts.whole)
    return hosts


def _worked(summary: dict[str, Any]) -> dict[str, Any]:
    """Of a run that ended well. Raises RuntimeError with what another said."""
    if summary.get("state") != "done":
        raise RuntimeError(str(summary))
    return summary


def _wait(what: Callable[[], Any], patience_s: float = 300.0) -> None:
    deadline = time.monotonic() + patience_s
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("the cluster did not come to what was waited for")
        time.sleep(0.1)


def lines(count: int) -> list[dict[str, Any]]:
    return [{"id": f"i{index}", "text": f"This is line number {index} of a long story."} for index in range(count)]


def real() -> str:
    for model in ("kokoro-int8", "kokoro-voices", "whisper-tiny.en"):
        pull(model, Settings())  # the hosts have no way out to fetch them by themselves
    hosts, rows = cluster(), []
    place = Place(hosts, "real")
    place.write(lines(REAL_ITEMS))
    for operation, engine, flags in (
        ("synthesize", "kokoro", ("--unit-items", "10", "--format", "wav")),
        ("transcribe", "faster-whisper", ("--unit-items", "10", "-O", "model=tiny.en")),
    ):
        here = f"{place.base}/{operation}-here"
        place.out = f"{place.base}/{operation}"
        there_s = _worked(place.run(*flags, operation=operation, engine=engine, timeout_s=3600))["work_seconds"]
        here_s = _worked(place.run(*flags, operation=operation, engine=engine, out=here, cluster=False, timeout_s=3600))["work_seconds"]
        done = sum(row["status"] == "done" for row in place.manifest())
        rows.append([operation, engine, REAL_ITEMS, done, place.results() == place.results(here), f"{there_s:.0f}", f"{here_s:.0f}"])
        place.source = f"{place.base}/spoken.jsonl"
        place.write([{"id": row["id"], "audio": row["uri"]} for row in place.manifest() if row["status"] == "done"])
    head = ["operation", "engine", "items", "done", "blobs and rows equal to the local run's", "cluster, s", "local, s"]
    return table(head, rows) + "\n\n" + verdict("all equal", all(row[4] and row[3] == REAL_ITEMS for row in rows))


def hosts_of_two() -> str:
    rows, seconds = [], {}
    for count in (1, 2):
        place = Place(cluster("--workers=1"), f"wait-{count}")
        place.write(lines(2000))
        flags = ("--unit-items", "10", "-O", "delay_s=0.05", "--beam-option", f"parallelism={count}")
        summary = _worked(place.run(*flags, timeout_s=1200))
        seconds[count] = summary["work_seconds"]
        rows.append([count, summary["done"], f"{summary['work_seconds']:.1f}", f"{2000 * 0.05 / count:.0f}", f"{summary['seconds']:.1f}"])
    gain = seconds[1] / seconds[2]
    text = table(["hosts", "items", "first worker to last commit, s", "of it waited, s", "whole run, s"], rows)
    return f"{text}\n\n{verdict(f'two hosts at least 1.8 times as fast (were {gain:.2f} times)', gain >= 1.8)}"


TOLD = """
import sys, threading, time
import psutil
import wavemill
from pipelines.cluster import driver
from pipelines.cluster.jobs import JobServer

submit, work, process = JobServer.submit, driver.work, psutil.Process()

def timed(*given):
    began_s = time.monotonic()
    job = submit(*given)
    print("told", "sent_s", time.monotonic() - began_s, file=sys.stderr)
    return job

def watched(*given):
    ended, found = threading.Event(), []
    def look():
        while not ended.wait(0.2):
            found.append(process.memory_info().rss / 1e6)
    threading.Thread(target=look).start()
    try:
        work(*given)
    finally:
        ended.set()
        tenth = max(1, len(found) // 10)
        for name, some in (("first_mb", found[:tenth]), ("last_mb", found[-tenth:]), ("most_mb", found)):
            print("told", name, max(some, default=0.0), file=sys.stderr)

JobServer.submit, driver.work = timed, watched
wavemill.main()
"""
"""The command, which tells besides how long its job took to be sent, and of its memory while it follows the job."""


def _told(place: Place, *flags: str) -> tuple[dict[str, Any], dict[str, float]]:
    summary = _worked(place.run(*flags, as_command=("-c", TOLD), timeout_s=3000))
    found = [line.split() for line in summary["said"].splitlines() if line.startswith("told ")]
    return summary, {name: float(value) for _, name, value in found}


def submission() -> str:
    hosts, rows, sent = cluster(), [], []
    hosts.restart("server")
    _wait(hosts.whole)
    for number in range(4):
        place = Place(hosts, f"submit-{number}")
        place.write(lines(20))
        summary, told = _told(place, "--unit-items", "10")
        sent_s = told["sent_s"]
        rest_s = summary["seconds"] - sent_s - summary["work_seconds"]
        sent.append(sent_s)
        rows.append([number + 1, f"{sent_s:.2f}", f"{rest_s:.1f}", f"{summary['work_seconds']:.1f}", f"{summary['seconds']:.1f}"])
    head = [
        "job of this job server",
        "sent, s",
        "until a worker is ready, and publishing, s",
        "ready worker to last commit, s",
        "whole run, s",
    ]
    return table(head, rows) + "\n\n" + verdict("sent within 8 s", max(sent) < 8)


def unit_cost() -> str:
    rows = []
    for items in (1, 10):
        place = Place(cluster(), f"unit-{items}")
        place.write(lines(600))
        summary = _worked(place.run("--unit-items", str(items), "--beam-option", "parallelism=1", timeout_s=1200))
        units = 600 // items
        rows.append([items, units, f"{summary['work_seconds']:.1f}", f"{1000 * summary['work_seconds'] / units:.0f}"])
    return table(["items of a unit", "units", "first worker to last commit, s", "ms a unit"], rows)


def many() -> str:
    rows, grown = [], []
    for count in (10_000, 100_000):
        place = Place(cluster(), f"many-{count}")
        place.write(lines(count))
        summary, told = _told(place, "--unit-items", "200")
        rows.append(
            [count, summary["done"], f"{summary['seconds']:.0f}", *(f"{told[name]:.0f}" for name in ("first_mb", "last_mb", "most_mb"))]
        )
        grown.append(told["most_mb"] - told["first_mb"])
    head = ["items", "done", "whole run, s", "MB in the first tenth", "MB in the last tenth", "most, MB"]
    return table(head, rows) + "\n\n" + verdict(f"at most {FLAT_MB} MB more than at first", max(grown) <= FLAT_MB)


def kills(old: str) -> Iterator[str]:
    """A row for each victim; those that stand there are kept."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in old.splitlines()
        if line.startswith(tuple(f"| {v} " for v in VICTIMS))
    ]
    head = ["killed", "times", "ended by itself", "stopped, then ended right", "lost", "doubled", "committed units touched again"]
    for victim in VICTIMS:
        if victim in {row[0] for row in rows}:
            continue
        told = [_broken(victim, seed) for seed in range(KILLS)]
        rows.append(
            [
                victim,
                str(len(told)),
                *(str(sum(one[name] for one in told)) for name in ("by itself", "resumed", "lost", "doubled", "again")),
            ]
        )
        right = all(row[4:] == ["0", "0", "0"] for row in rows)
        yield table(head, rows) + "\n\n" + verdict("lost 0, doubled 0, touched again 0", right)


def _broken(victim: str, seed: int) -> dict[str, int]:
    """One run of 60 items of half a second with one kill; of the victim `host` the network is cut for 30 s."""
    hosts, chance = cluster("--workers=1"), random.Random(seed)
    place = Place(hosts, f"kill-{victim}-{seed}")
    place.write(lines(60))
    flags = ("--unit-items", "3", "-O", "delay_s=0.5")
    driver = place.start(*flags)
    _wait(place.parts)
    time.sleep(chance.uniform(0, 8))
    before = place.committed()
    if victim == "worker":
        _wait(hosts.workers)
        psutil.Process(chance.choice(hosts.workers())["pid"]).kill()
    elif victim == "host":
        hosts.script.cut(hosts.cluster, 2)
        time.sleep(30)
        hosts.script.cut(hosts.cluster, 2, connected=True)
    else:
        hosts.restart(victim)
    said, _ = driver.communicate(timeout=900)
    itself = json.loads(said.splitlines()[-1])["state"] == "done"
    if not itself:
        _wait(hosts.whole)
        place.run(*flags, timeout_s=900)
    after, rows = place.committed(), place.manifest()
    keys = place.keys()
    return {
        "by itself": int(itself),
        "resumed": int(not itself),
        "lost": 60 - sum(row["status"] == "done" for row in rows),
        "doubled": len(keys) - len(set(keys)),
        "again": sum(after.get(name) != written for name, written in before.items()),
    }


SECTIONS = {
    "real": Section("The same results", real, "Real speech and real transcripts, from S3 to S3, in units of ten."),
    "two": Section(
        "Two hosts against one", hosts_of_two, "2,000 items in units of ten with an engine that only waits 50 ms, a thread a host."
    ),
    "unit": Section("What a unit costs", unit_cost, "Echo items of a tenth of a second of tone, on one host."),
    "submission": Section(
        "Submission", submission, "20 echo items on two hosts, with a job server that was just started, and the jobs after it."
    ),
    "many": Section("Many items", many, "Echo items in units of 200. Memory is that of the driver's process while it follows its job."),
    "kills": Section(
        "Kills",
        None,
        "kill -9 at a random moment, of what is started again at once; `host` is a network that was cut for 30 s. 60 items of half a second, in units of three.",
        kills,
    ),
    "streams": Section("A stream on two hosts", lambda: cluster_streams.report(cluster()), str(cluster_streams.__doc__)),
}


def main() -> int:
    names = sys.argv[1:]
    head = PAGE.read_text().partition(MEASURED)[0] + MEASURED
    script = load()
    with tempfile.TemporaryDirectory(prefix="wavemill-cluster-") as name:
        folder = Path(name)
        try:
            HERE.append(Hosts(script, script.up(folder, with_kafka=True)))
            sections.write(PAGE, head, SECTIONS, names, "python -m benchmarks.cluster", keep=not names)
        finally:
            if (folder / "cluster.json").exists():
                script.down(folder)
    print(PAGE.read_text().partition(MEASURED)[2])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
