"""What planning, submitting and publishing cost for many rows: `python -m benchmarks.scale ROWS [UNIT_ITEMS]`.

The engine is echo and nothing is worked: a manifest is generated, planned and stored as `wavemill run` does, each unit's
part and (empty) blobs are written as a worker would, and `wavemill publish` joins them. A second planning is what a run
that goes on does first. All on local disk, each step a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import WAVEMILL, machine, run, table
from benchmarks.overhead import write_texts


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step; `scratch_mb` is the most that its temporary files held."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float
    scratch_mb: float
    said: str


def measure(folder: Path, rows: int, unit_items: int = 200) -> list[Step]:
    """All steps over `rows` rows in units of `unit_items`, in `folder`, which then holds the OUT as `folder/out`."""
    source, out = folder / "rows.jsonl", folder / "out"
    write_texts(source, rows)
    ours = [sys.executable, "-m", "benchmarks.overhead"]
    plan = [sys.executable, "-m", "benchmarks.scale", "plan", str(source), str(out), str(unit_items)]
    return [
        _step("plan and store it", plan, folder),
        _step("the pipeline as it is submitted", [sys.executable, "-m", "benchmarks.scale", "submit", str(out)], folder),
        _step("write all parts and blobs (not part of wavemill)", [*ours, "commit", str(out)], folder),
        _step("publish", [*WAVEMILL, "publish", str(out)], folder),
        _step("plan again with all parts there", plan, folder),
    ]


def _step(name: str, command: Sequence[str], folder: Path) -> Step:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    with _watched(scratch) as most:
        done = run(command, TMPDIR=str(scratch))
    step = Step(name, done.wall_s, done.cpu_s, done.peak_mb, most[0], done.output.strip().splitlines()[-1] if done.output.strip() else "")
    print(time.strftime("%H:%M:%S"), step, file=sys.stderr)
    return step


@contextmanager
def _watched(scratch: Path) -> Iterator[list[float]]:
    """The most megabytes that files in `scratch` held, looked at twice a second."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            total = 0
            for path in scratch.rglob("*"):
                try:
                    total += path.stat().st_blocks * 512
                except FileNotFoundError:
                    continue
            most[0] = max(most[0], total / 1e6)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def plan(source: str, out: str, unit_items: int) -> None:
    """Plan and store as `wavemill run` does; the unit references go to `refs.json` beside OUT."""
    from pipelines.batch import plan as plans
    from pipelines.spec import PipelineSpec
    from transforms.scratch import temporary_folder
    from transforms.settings import Settings
    from transforms.store import Store

    spec = PipelineSpec(operation="synthesize", source=source, out=out, engine="echo", unit_items=unit_items)
    with temporary_folder() as scratch:
        made = plans.make(spec, Settings(), Store(out), scratch)
    if made.refs:
        Path(out).with_name("refs.json").write_text(json.dumps(made.refs))
    print(f"{made.wanted} items wanted, {len(made.refs)} units")


def submit(out: str) -> None:
    """Build the pipeline that a runner is given, and tell its size."""
    import apache_beam as beam

    from pipelines.batch import beam as pipelines, plan as plans
    from pipelines.batch.room import Job
    from pipelines.batch.units import Ref
    from transforms.settings import Settings
    from transforms.store import Store

    stored = plans.require_stored(Store(out))
    job = Job(out, stored["spec"]["operation"], stored["engine"], stored["work"], Settings())
    refs = [Ref(*ref) for ref in json.loads(Path(out).with_name("refs.json").read_text())]
    pipeline = beam.Pipeline()
    pipelines.build(pipeline, job.to_json(), refs)
    print(f"{len(refs)} units, {pipeline.to_runner_api().ByteSize()} bytes")


def report(rows: int, unit_items: int) -> str:
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as name:
        steps = measure(Path(name), rows, unit_items)
        files = {kind: sum(1 for _ in (Path(name) / "out" / kind).rglob("*.*")) for kind in ("parts", "blobs")}
        manifest = (Path(name) / "out/manifest.parquet").stat().st_size
    lines = [[s.name, f"{s.wall_s:.1f}", f"{s.cpu_s:.1f}", f"{s.peak_mb:.0f}", f"{s.scratch_mb:.0f}", s.said] for s in steps]
    head = f"{rows:,} rows, {files['parts']:,} parts, {files['blobs']:,} blobs; the manifest has {manifest / 1e6:.0f} MB."
    return f"{head}\n\n{table(['step', 'wall, s', 'CPU, s', 'peak memory, MB', 'most temporary files, MB', 'it says'], lines)}\n"


if __name__ == "__main__":
    if sys.argv[1] == "plan":
        plan(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    elif sys.argv[1] == "submit":
        submit(sys.argv[2])
    else:
        print(
            f"{machine()}; `python -m benchmarks.scale {' '.join(sys.argv[1:])}`.\n\n{report(int(sys.argv[1]), int((*sys.argv[2:], 200)[0]))}"
        )
