"""What the pipeline itself costs: echo over 10,000 items on disk and S3, 100,000 for memory, a million to plan and publish."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import WAVEMILL, Series, run, spread, table


def write_texts(path: Path, count: int) -> None:
    with path.open("w") as file:
        for index in range(count):
            row = {"id": f"x{index}", "text": f"This is sentence number {index} of the manifest, spoken plainly.", "source": "book"}
            file.write(json.dumps(row) + "\n")


def write_audio_rows(path: Path, count: int) -> None:
    with path.open("w") as file:
        for index in range(count):
            row = {
                "id": f"x{index}",
                "audio": f"s3://bucket/{index % 1000}/{index}.mp3",
                "etag": f"{index:032x}",
                "duration_s": 3 + index % 7,
            }
            file.write(json.dumps(row) + "\n")


def echo(source: Path, out: str) -> list[str]:
    return [*WAVEMILL, "run", "synthesize", str(source), "-o", out, "-e", "echo", "--format", "wav", "--no-pull", "--quiet"]


def items(folder: Path, runs: int = 5) -> str:
    """Milliseconds an item, whole process, on disk and on S3."""
    from pipelines.dev import process, s3, services

    few, many = folder / "10k.jsonl", folder / "100k.jsonl"
    write_texts(few, 10_000)
    write_texts(many, 100_000)
    ports = s3.choose_ports()
    server = services.start("s3", folder / "s3", ports)
    environment = s3.environment(ports)
    local, remote = Series(), Series()
    try:
        for index in range(runs):
            local.runs.append(run(echo(few, str(folder / f"local-{index}"))))
            remote.runs.append(run(echo(few, f"s3://{s3.BUCKET}/bench-{index}"), **environment))
    finally:
        process.stop(server)
    big = run(echo(many, str(folder / "local-100k")))
    rows = [
        ["local disk, 10,000 items", *(spread([v / 10 for v in local.column(c)], 3) for c in ("wall_s", "cpu_s")), spread(local.column("peak_mb"), 0)],
        ["S3 (SeaweedFS on the same cores), 10,000 items", *(spread([v / 10 for v in remote.column(c)], 3) for c in ("wall_s", "cpu_s")), spread(remote.column("peak_mb"), 0)],
        ["local disk, 100,000 items (1 run)", f"{big.wall_s / 100:.3f}", f"{big.cpu_s / 100:.3f}", f"{big.peak_mb:.0f}"],
    ]  # fmt: skip
    return table(["work", "wall, ms an item", "CPU, ms an item", "peak memory of all processes, MB"], rows)


def million(folder: Path) -> str:
    """Seconds and memory to plan a million rows, and to publish them."""
    rows = []
    for label, write, operation in (
        ("text", write_texts, "synthesize"),
        ("audio with duration_s and etag", write_audio_rows, "transcribe"),
    ):
        source, out = folder / f"{operation}.jsonl", folder / f"million-{operation}"
        write(source, 1_000_000)
        planned = run([sys.executable, "-m", "benchmarks.overhead", "plan", operation, str(source), str(out)])
        committed = run([sys.executable, "-m", "benchmarks.overhead", "commit", str(out)])
        published = run([*WAVEMILL, "publish", str(out)])
        rows.append([label, f"{planned.wall_s:.1f}", f"{planned.peak_mb:.0f}", f"{published.wall_s:.1f}", f"{published.peak_mb:.0f}"])
        del committed
        shutil.rmtree(out)
    return table(["1,000,000 rows of", "plan, s", "plan, MB", "publish, s", "publish, MB"], rows)


def plan_stored(operation: str, source: str, out: str) -> None:
    """Plan as `wavemill run` does before any work, and store it."""
    from pipelines.batch import plan
    from pipelines.spec import PipelineSpec
    from transforms.settings import Settings
    from transforms.storage import Store

    spec = PipelineSpec(operation=operation, source=source, out=out, engine="echo")
    with tempfile.TemporaryDirectory() as scratch:
        plan.make(spec, Settings(), Store(out), Path(scratch))


def commit_all(out: str) -> None:
    """Part files and (empty) blobs for every stored unit, as a finished run leaves them, without the work."""
    import pyarrow.parquet as pq

    from pipelines.batch import plan
    from sinks import parts
    from transforms.records import Item, Result, Stored
    from transforms.storage import Store

    store = Store(out)
    stored = plan.require_stored(store)
    units: dict[str, list[Item]] = {}
    for batch in pq.ParquetFile(store.path(stored["work"])).iter_batches(columns=["unit", "key", "id"]):
        for row in batch.to_pylist():
            units.setdefault(row["unit"], []).append(Item(row["key"], row["id"], "synthesize", "echo", None, {}))  # type: ignore[arg-type]
    for unit, items_of in units.items():
        outcomes = []
        for item in items_of:
            name = f"blobs/{item.key[:2]}/{item.key}-{'0' * 12}.wav"
            path = store.path(name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
            outcomes.append(Result({"duration_s": 0.1}, {"audio": Stored("audio", name, "wav", 0, "0" * 64, 0.1)}))
        store.write(parts.name(unit, 0), parts.encode(items_of, outcomes, [0.0] * len(items_of), 0))


def report() -> str:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder:
        text = f"{items(Path(folder))}\n\n{million(Path(folder))}\n"
    print(f"overhead: {time.monotonic() - began:.0f} s")
    return text


if __name__ == "__main__":
    if sys.argv[1] == "plan":
        plan_stored(*sys.argv[2:5])
    else:
        commit_all(sys.argv[2])
