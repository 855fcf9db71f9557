"""What the pipeline itself costs: echo over 10,000 items on disk and S3, 100,000 for memory, a million to plan and publish."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import WAVEMILL, Series, run, spread, table

if TYPE_CHECKING:
    import pyarrow as pa


def write_texts(path: Path, count: int) -> None:
    import duckdb

    row = "'x' || i AS id, 'This is sentence number ' || i || ' of the manifest, spoken plainly.' AS text, 'book' AS source"
    with duckdb.connect() as con:
        con.execute("SET enable_progress_bar = false")
        con.execute(f"COPY (SELECT {row} FROM range({count}) t(i)) TO '{path}' (FORMAT json)")


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
    from transforms.store import Store

    spec = PipelineSpec(operation=operation, source=source, out=out, engine="echo")
    with tempfile.TemporaryDirectory() as scratch:
        plan.make(spec, Settings(), Store(out), Path(scratch))


def commit_all(out: str) -> None:
    """Part files and (empty) blobs for every stored unit, as a finished run leaves them, without the work.

    Blobs are further names of a few empty files: ten million files of their own would take most of a disk's inodes.
    """
    from pipelines.batch import plan
    from sinks import parts
    from transforms.store import Store

    store = Store(out)
    for number in range(256):
        os.makedirs(store.path(f"blobs/{number:02x}"), exist_ok=True)
    named, empty = 0, ""
    for unit, keys in _units(store.path(plan.require_stored(store)["work"])):
        table = done_rows(keys)
        for name in table.column("outputs").combine_chunks().flatten().field("uri").to_pylist():
            if named % 50_000 == 0:  # ext4 has room for 65,000 names of a file
                empty = store.path(name)
                os.close(os.open(empty, os.O_WRONLY | os.O_CREAT, 0o666))
            else:
                os.link(empty, store.path(name))
            named += 1
        store.write(parts.name(unit, 0), parts.to_bytes(table))


def done_rows(keys: pa.Array) -> pa.Table:
    """What a part says of items that echo made, each one WAV of no bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from sinks import parts

    digests = pc.utf8_reverse(keys)
    of_blob = pc.binary_join_element_wise(keys, pc.utf8_slice_codeunits(digests, 0, 12), "-")
    uris = pc.binary_join_element_wise("blobs", pc.utf8_slice_codeunits(keys, 0, 2), pc.binary_join_element_wise(of_blob, "wav", "."), "/")
    seconds = pa.array([0.1] * len(keys))
    output = {"name": "audio", "uri": uris, "format": "wav", "bytes": 0, "sha256": digests, "duration_s": seconds}
    outputs = pa.StructArray.from_arrays([_column(output[f.name], f.type, len(keys)) for f in parts.OUTPUT], fields=list(parts.OUTPUT))
    row = {"key": keys, "status": "done", "duration_s": seconds, "seconds": 0.0, "n": 0}
    row["outputs"] = pa.ListArray.from_arrays(pa.array(range(len(keys) + 1), pa.int32()), outputs)
    return pa.table([_column(row.get(f.name), f.type, len(keys)) for f in parts.SCHEMA], schema=parts.SCHEMA)


def _column(value: Any, type: pa.DataType, length: int) -> pa.Array:
    import pyarrow as pa

    return value if isinstance(value, pa.Array) else pa.repeat(pa.scalar(value, type), length)


def _units(work: str) -> Iterator[tuple[str, pa.Array]]:
    """Each unit of a work file with its keys; no unit stands in two row groups."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    file = pq.ParquetFile(work)
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=["unit", "key"]).combine_chunks()
        runs = pc.run_end_encode(rows.column("unit").chunk(0))
        start = 0
        for unit, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield unit, rows.column("key").chunk(0).slice(start, end - start)
            start = end


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
