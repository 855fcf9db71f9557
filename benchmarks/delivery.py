"""`make prove-delivery`: what `docs/delivery.md` promises, shown by killing things. `python -m benchmarks.delivery NAME ...` shows one.

Without a name only what is not written yet is measured, so that it goes on after a stop. It ends with 1 where a target is not met.
"""

from __future__ import annotations

import sys
from types import ModuleType

from benchmarks import (
    delivery_broker,
    delivery_drain,
    delivery_long_job,
    delivery_memory,
    delivery_messages,
    delivery_overhead,
    delivery_partitions,
    delivery_scaling,
    delivery_transcriptions,
)
from benchmarks.measure import ROOT
from benchmarks.sections import Section, write
from pipelines.dev import kafka

PAGE = ROOT / "docs/delivery.md"
MEASURED = "<!-- measured -->\n"
"""What stands before it is written by hand."""


def _section(title: str, module: ModuleType) -> Section:
    return Section(
        f"Measured: {title}", module.report, f"{module.__doc__}\nThe broker is one Apache Kafka {kafka.VERSION} on the same machine."
    )


SECTIONS = {
    "messages": _section("10,000 messages", delivery_messages),
    "transcriptions": _section("500 transcriptions", delivery_transcriptions),
    "broker": _section("a broker that is killed", delivery_broker),
    "partitions": _section("a topic that grows", delivery_partitions),
    "scaling": _section("workers and throughput", delivery_scaling),
    "drain": _section("5,000 messages drained", delivery_drain),
    "long-job": _section("a long message", delivery_long_job),
    "overhead": _section("what a message costs", delivery_overhead),
    "memory": _section("memory over an hour", delivery_memory),
}


def main(names: list[str]) -> int:
    if unknown := set(names) - SECTIONS.keys():
        print(f"no proof {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}", file=sys.stderr)
        return 2
    head = PAGE.read_text().partition(MEASURED)[0] + MEASURED
    write(PAGE, head, SECTIONS, names, "python -m benchmarks.delivery", keep=True)
    measured = PAGE.read_text().partition(MEASURED)[2]
    print(measured)
    return 1 if "**not met**" in measured else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
