"""A run from its SOURCE to its published manifest: lease, plan, pull, work, publish, summary."""

from __future__ import annotations

import json
import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from pipelines.batch import plan as plans, publish as publishing, snapshot as snapshots, supervise
from pipelines.batch.lease import Lease, require_free, shard_name
from pipelines.batch.room import Job
from pipelines.batch.summary import describe_codes
from pipelines.cluster import notes
from pipelines.spec import PipelineSpec
from pipelines.supervised import Control
from sinks import parts
from transforms import pull
from transforms.errors import WavemillError, kind
from transforms.scratch import temporary_folder
from transforms.settings import Settings
from transforms.store import Store

LIBRARIES = ("apache-beam", "pyarrow", "duckdb", "numpy", "onnxruntime", "ctranslate2", "faster-whisper", "av", "soxr")


class Progress(Protocol):
    """Who is told how a run goes."""

    def planned(self, plan: plans.Plan) -> None: ...
    def pulling(self, model: str, done: int, total: int | None) -> None: ...
    def event(self, event: dict[str, Any]) -> None: ...


@dataclass(slots=True)
class Summary:
    """How a run ended. `seconds` is wall time, `work_seconds` that from ready engine to last commit; `audio_h` and `real_time_factor` are of what this run made."""

    state: str
    exit_code: int
    out: str
    rows: int = 0
    done: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    missing: int = 0
    made: int = 0
    audio_h: float = 0.0
    seconds: float = 0.0
    work_seconds: float = 0.0
    real_time_factor: float | None = None
    slowest: list[tuple[float, str]] = field(default_factory=list)
    deaths: int = 0
    published: bool = False
    next: str = ""


def run(spec: PipelineSpec, settings: Settings, progress: Progress, control: Control, take_over: bool = False) -> Summary:
    """Run, or go on with, a spec. Raises `WavemillError` of kinds usage and system; item failures are in the summary."""
    spec.parse_options(spec.new_engine())
    if spec.drains:
        from pipelines.batch import drain

        return drain.drain(spec, settings, progress, control, take_over)
    return run_into(spec, settings, progress, control, take_over)


def run_into(spec: PipelineSpec, settings: Settings, progress: Progress, control: Control, take_over: bool = False) -> Summary:
    """As `run`, of a SOURCE that is no topic, or of the messages of one that OUT holds already."""
    warnings = _check_cluster(settings, spec.out, spec.source)
    store = Store(spec.out, settings.storage_patience_s)
    if not spec.shard:
        _refuse_shards(store, settings)
    with (
        Lease(store, shard_name(spec.shard), settings.lease_ttl_s, take_over) as lease,
        temporary_folder() as scratch,
    ):
        require_free(store, settings.lease_ttl_s, shard_name(spec.shard), beside_shards=spec.shard is not None)
        return _finish(lambda: plans.make(spec, settings, store, scratch), settings, store, scratch, lease, progress, control, warnings)


def replay(out: str, settings: Settings, progress: Progress, control: Control, take_over: bool = False) -> Summary:
    """Try the failures of an OUT again and publish again. Raises `bad_usage` when engine or weights have changed."""
    warnings = _check_cluster(settings, out)
    store = Store(out, settings.storage_patience_s)
    stored = plans.require_stored(store)
    spec = PipelineSpec.parse({**stored["spec"], "out": out, "shard": None})
    engine = spec.new_engine()
    if (engine.name, engine.version) != (stored["engine"], stored["engine_version"]):
        raise WavemillError(
            "bad_usage",
            f"{out} was made by {stored['engine']} {stored['engine_version']}, this is {engine.name} {engine.version}; use `wavemill run`",
        )
    with (
        Lease(store, shard_name(None), settings.lease_ttl_s, take_over) as lease,
        temporary_folder() as scratch,
    ):
        require_free(store, settings.lease_ttl_s, shard_name(None))
        try:
            return _finish(lambda: plans.remake(spec, store, scratch), settings, store, scratch, lease, progress, control, warnings)
        except WavemillError as error:
            if error.code == "work_mismatch":
                raise WavemillError("bad_usage", "the weights have changed since these items were planned; use `wavemill run`") from error
            raise


def _check_cluster(settings: Settings, out: str, source: str = "") -> list[str]:
    if settings.runner == "local":
        return []
    logging.basicConfig(level=logging.ERROR)  # Beam warns of what it lacks when it is imported
    from pipelines.cluster import driver

    return driver.check(settings, out, source)


def _refuse_shards(store: Store, settings: Settings) -> None:
    """A whole run and shards of one do not share an OUT."""
    if plans.read_stored(store, plans.SHARDS):
        first = plans.read_stored(store, plans.SHARDS) or {}
        raise WavemillError(
            "bad_usage", f"{store.url} is filled by {first.get('shards')} shards; give --shard i/n, or `wavemill publish` it", "shard"
        )


def _finish(
    make_plan: Callable[[], plans.Plan],
    settings: Settings,
    store: Store,
    scratch: Path,
    lease: Lease,
    progress: Progress,
    control: Control,
    warnings: list[str],
) -> Summary:
    began = time.monotonic()
    notes.end_left(store, lease.name)
    plan = make_plan()
    plan.warnings += warnings
    progress.planned(plan)
    spec, tally = plan.spec, _Tally(plan, control)
    if spec.fail_fast:
        tally.judge()
    if plan.refs and control.reason is None:
        job = Job(store.url, spec.operation, spec.engine_name, plan.work, settings)

        def hear(event: dict[str, Any]) -> None:
            tally.hear(event)
            progress.event(event)
            if lease.lost.is_set():
                control.stop("lease_lost")

        if settings.runner == "local":
            engine = spec.new_engine()
            engine.check_installed(spec.parse_options(engine))
            pull.pull_all(plan.models, settings, progress.pulling)
            supervise.work(job, plan.refs, store, scratch, control, hear)
        else:
            from pipelines.cluster import driver

            driver.work(job, plan.models, plan.refs, store, lease.name, scratch, control, hear)
    if lease.lost.is_set():
        raise WavemillError("lease_lost", f"another driver took {store.url} over")
    summary = _conclude(spec, store, tally, control, time.monotonic() - began)
    _write_record(store, spec, settings, summary)
    return summary


class _Tally:
    """A fold over the events of a run."""

    def __init__(self, plan: plans.Plan, control: Control) -> None:
        self.spec, self.rows, self.control = plan.spec, plan.rows, control
        self.failures = sum(plan.refused.values()) + sum(plan.failed.values())
        self.made, self.audio_s, self.deaths = 0, 0.0, 0
        self.slowest: list[tuple[float, str]] = []
        self.ready_s = self.last_s = 0.0

    def hear(self, event: dict[str, Any]) -> None:
        if "death" in event:
            self.deaths += 1
        elif "ready" in event:
            self.ready_s = self.ready_s or time.monotonic()
        elif "done" in event:
            self.last_s = time.monotonic()
            self.made += event["items"]
            self.audio_s += event["audio_s"]
            self.failures += sum(event["failed"].values())
            self.slowest = sorted([*self.slowest, *map(tuple, event["slowest"])], reverse=True)[:5]
            if self.spec.fail_fast:
                self.judge()

    def judge(self) -> None:
        if not self.spec.allows(self.failures, self.rows):
            self.control.stop("fail_fast")


def _conclude(spec: PipelineSpec, store: Store, tally: _Tally, control: Control, seconds: float) -> Summary:
    counts = _count(spec, store)
    summary = Summary(
        state="done",
        exit_code=0,
        out=store.url,
        rows=counts.rows,
        done=counts.done,
        failed=counts.failed,
        missing=counts.missing,
        made=tally.made,
        audio_h=tally.audio_s / 3600,
        seconds=seconds,
        work_seconds=max(0.0, tally.last_s - tally.ready_s),
        real_time_factor=seconds / tally.audio_s if tally.audio_s else None,
        slowest=tally.slowest,
        deaths=tally.deaths,
    )
    out = store.url
    # of a topic nothing is left behind: its offsets move over what is published
    unsettled = counts.missing + (sum(n for code, n in counts.failed.items() if kind(code) != "item") if spec.drains else 0)
    if control.reason == "fail_fast":
        summary.state, summary.exit_code, summary.next = "stopped", 1, f"look at the failures: wavemill status {out}"
    elif unsettled and control.reason:
        summary.state, summary.exit_code = "interrupted", 143 if control.reason == "SIGTERM" else 130
        summary.next = "the same command again goes on where this stopped"
    elif unsettled:
        what = "messages have no result and no failure of their own" if spec.drains else "rows have no outcome"
        why = f" ({describe_codes(counts.failed)} failed)" if counts.failed else ""
        raise WavemillError("incomplete", f"{unsettled} of {counts.rows} {what}{why}; run the same command again")
    else:
        if not spec.shard:
            publishing.publish(store)
            summary.published = True
        if spec.shard:
            summary.next = f"when all {spec.shard[1]} shards are done: wavemill publish {out}"
        elif counts.failures:
            summary.next = f"wavemill replay {out}   (tries the failures again; they stand in {store.path(publishing.FAILURES)})"
        else:
            summary.next = f"wavemill export {out} DIR --name '{{id}}.{{ext}}'"
        if not spec.allows(counts.failures, counts.rows):
            summary.state, summary.exit_code = "failures", 1
    return summary


def _count(spec: PipelineSpec, store: Store) -> publishing.Counts:
    with temporary_folder() as scratch, snapshots.connect(scratch) as con:
        from pipelines.batch import units

        stored = plans.read_stored(store, plans.plan_name(spec.shard)) or plans.require_stored(store)
        plans.load_snapshot(con, store, stored, scratch)
        if spec.shard:
            con.execute(f"CREATE TEMP TABLE mine AS SELECT * FROM snapshot WHERE key IS NULL OR {units.shard_filter(spec.shard)}")
            con.execute("CREATE OR REPLACE TEMP VIEW snapshot AS SELECT * FROM mine")
        parts.view(con, store, scratch)
        return publishing.count(con)


def _write_record(store: Store, spec: PipelineSpec, settings: Settings, summary: Summary) -> None:
    versions = {}
    for name in ("wavemill", *LIBRARIES):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    record = {
        **asdict(summary),
        "spec": spec.model_dump(mode="json"),
        "workers": settings.workers,
        "device": settings.device,
        "versions": versions,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "ended_s": time.time(),
    }
    name = f"run-shard-{spec.shard[0]}-of-{spec.shard[1]}.json" if spec.shard else "run.json"
    store.write(name, json.dumps(record, indent=1, ensure_ascii=False).encode())


def publish(out: str, settings: Settings, partial: bool = False) -> publishing.Counts:
    """Join what runs or shards committed. Raises `incomplete`, or `lease_held` while one still works."""
    store = Store(out, settings.storage_patience_s)
    plans.require_stored(store)
    require_free(store, settings.lease_ttl_s)
    with Lease(store, shard_name(None), settings.lease_ttl_s):
        return publishing.publish(store, partial)


class SilentProgress:
    """Nobody is told."""

    def planned(self, plan: plans.Plan) -> None:
        pass

    def pulling(self, model: str, done: int, total: int | None) -> None:
        pass

    def event(self, event: dict[str, Any]) -> None:
        pass
