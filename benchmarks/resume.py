"""`make prove-resume`: kill -9 at random moments of a real run; what is published must be what an unbroken run publishes.

Every kill takes the whole process group, as a power cut would. A ledger of the parts seen after each kill shows that no
committed unit is computed twice: a part, once there, keeps its inode and its time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.measure import ENVIRONMENT, ROOT, WAVEMILL, machine, table

IGNORED = ("attempts", "uri", "outputs")


def rows_of(out: Path) -> list[dict[str, Any]]:
    """The manifest's rows without timings, tries and the folder's own path."""
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    kept = []
    for row in rows:
        names = [
            (o["name"], o["uri"].removeprefix(f"{out}/"), o["format"], o["bytes"], o["sha256"], o["duration_s"])
            for o in row["outputs"] or []
        ]
        kept.append({**{k: v for k, v in row.items() if k not in IGNORED}, "names": names})
    return kept


def blobs_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in (out / "blobs").rglob("*") if p.is_file() and not p.name.endswith(".tmp")}


def parts_of(out: Path) -> dict[str, tuple[int, int]]:
    folder = out / "parts"
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.glob("*.parquet")} if folder.is_dir() else {}


def prove(command: list[str], folder: Path, kills: int, seed: int, least_s: float, most_s: float) -> dict[str, Any]:
    """Run `command` (its OUT left off) unbroken, then with `kills` kills, and compare."""
    whole, broken = folder / "whole", folder / "broken"
    began = time.monotonic()
    subprocess.run([*command, "-o", str(whole)], check=True, env=ENVIRONMENT, capture_output=True)
    unbroken_s = time.monotonic() - began
    moments = random.Random(seed)
    ledger: dict[str, tuple[int, int]] = {}
    doubled, killed = 0, 0
    while killed < kills:
        process = subprocess.Popen(
            [*command, "-o", str(broken)], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            process.wait(moments.uniform(least_s, most_s))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
        now = parts_of(broken)
        doubled += sum(1 for name, mark in ledger.items() if now.get(name) != mark)
        ledger = now
        if (broken / "manifest.parquet").exists():
            break
    subprocess.run([*command, "-o", str(broken)], check=True, env=ENVIRONMENT, capture_output=True)
    now = parts_of(broken)
    doubled += sum(1 for name, mark in ledger.items() if now.get(name) != mark)
    keys = [key for name in now for key in pq.read_table(broken / "parts" / name, columns=["key"]).column("key").to_pylist()]
    return {
        "kills": killed,
        "unbroken_s": round(unbroken_s, 1),
        "blobs": len(blobs_of(whole)),
        "blobs_identical": blobs_of(whole) == blobs_of(broken),
        "rows": len(rows_of(whole)),
        "rows_equal": rows_of(whole) == rows_of(broken),
        "items_committed_twice": len(keys) - len(set(keys)),
        "committed_units_touched_again": doubled,
    }


def story(folder: Path, times: int) -> Path:
    """The demo story's paragraphs, several times over with a number said, so that no two are alike, in the engine's own voice."""
    rows = [json.loads(line) for line in (ROOT / "examples/story.jsonl").read_text().splitlines()]
    for row in rows:
        del row["voice"]
    path = folder / "story.jsonl"
    path.write_text(
        "".join(
            json.dumps({**row, "id": f"{t}-{row['id']}", "text": f"Telling {t + 1}. {row['text']}"}) + "\n"
            for t in range(times)
            for row in rows
        )
    )
    return path


def main() -> int:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    results = []
    with tempfile.TemporaryDirectory(prefix="wavemill-prove-") as name:
        for engine, times, least_s, most_s in (("kokoro", 2, 3.0, 14.0), ("piper", 8, 2.5, 6.0)):
            folder = Path(name) / engine
            folder.mkdir()
            command = [*WAVEMILL, "run", "synthesize", str(story(folder, times)), "-e", engine, "--unit-items", "2", "--quiet"]
            results.append([engine, *prove(command, folder, kills, 7, least_s, most_s).values()])
    header = [
        "engine",
        "kills",
        "unbroken run, s",
        "blobs",
        "blobs identical",
        "rows",
        "rows equal",
        "items committed twice",
        "committed units touched again",
    ]
    text = f"# Resume\n\n{(__doc__ or '').strip()}\n\n{machine()}; `make prove-resume`.\n\n{table(header, results)}\n"
    (ROOT / "docs/resume.md").write_text(text)
    print(text)
    return 0 if all(row[4] and row[6] and not row[7] and not row[8] for row in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
