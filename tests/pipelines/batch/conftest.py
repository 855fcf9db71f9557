"""Running echo over small manifests, in the way a user's command does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

import wavemill
from pipelines.batch import run as runs
from pipelines.spec import PipelineSpec
from pipelines.supervised import Control
from transforms.settings import Settings
from transforms.store import Store

SETTINGS = Settings(pull=False, workers=2, storage_patience_s=2.0)


class Heard(runs.SilentProgress):
    """Keeps what a run tells, and lets a test act on an event."""

    def __init__(self, act: Callable[[dict[str, Any]], None] = lambda event: None) -> None:
        self.events: list[dict[str, Any]] = []
        self.act = act

    def event(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.act(event)

    @property
    def units(self) -> list[str]:
        return [event["done"] for event in self.events if "done" in event]


class Runner:
    """One OUT and the runs into it."""

    def __init__(self, folder: Path, out: str) -> None:
        self.folder, self.out, self.store = folder, out, Store(out)
        self.source = folder / "manifest.jsonl"
        self.heard = Heard()

    def write(self, rows: list[dict[str, Any] | str]) -> None:
        self.source.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))

    def spec(self, **fields: Any) -> PipelineSpec:
        options = {"format": "wav", "normalize": False, **fields.pop("options", {})}
        defaults = {"operation": "synthesize", "source": str(self.source), "out": self.out, "engine": "echo", "unit_items": 4}
        if fields.get("operation", "synthesize") != "synthesize":
            options = {name: value for name, value in options.items() if name not in ("format", "normalize")}
        return PipelineSpec.parse({**defaults, **fields, "options": options})

    def run(
        self, act: Callable[[dict[str, Any]], None] = lambda event: None, control: Control | None = None, **fields: Any
    ) -> runs.Summary:
        self.heard = Heard(act)
        return runs.run(self.spec(**fields), SETTINGS, self.heard, control or Control())

    def command(self, operation: str, *flags: str) -> dict[str, Any]:
        """What `wavemill run` says, with the engine that it took."""
        answer = CliRunner().invoke(wavemill.root, ["run", operation, str(self.source), "-o", self.out, "--json", *flags])
        assert answer.exit_code == 0, answer.output
        plan = json.loads(self.store.read("plan/plan.json") or b"")
        return {**json.loads(answer.stdout), "engine": plan["engine"]}

    def replay(self) -> runs.Summary:
        self.heard = Heard()
        return runs.replay(self.out, SETTINGS, self.heard, Control())

    def manifest(self) -> list[dict[str, Any]]:
        local = self.folder / "published.parquet"
        data = self.store.read("manifest.parquet")
        assert data is not None
        local.write_bytes(data)
        with duckdb.connect() as con:
            return con.sql(f"SELECT * FROM '{local}'").to_arrow_table().to_pylist()

    def blobs(self) -> dict[str, bytes]:
        return {entry.url: self.store.read(entry.url) or b"" for entry in self.store.entries("blobs")}


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path, str(tmp_path / "out"))


@pytest.fixture
def anywhere(tmp_path: Path, out: str) -> Runner:
    """As `runner`, on local disk and on S3."""
    return Runner(tmp_path, out)
