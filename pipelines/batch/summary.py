"""What plan, run and status say to people, as lines of a heading and a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from transforms.command_line import format_bytes, format_time
from transforms.records import KAFKA

if TYPE_CHECKING:
    from pipelines.batch.plan import Plan
    from pipelines.batch.run import Summary
    from pipelines.batch.status import Status
    from transforms.settings import Settings

Lines = Iterable[tuple[str, str]]


def format_lines(lines: Lines) -> str:
    return "\n".join(f"{heading:<10} {text}".rstrip() for heading, text in lines)


def describe_codes(failed: Mapping[str, int]) -> str:
    """`3: 2 bad_row, 1 empty_text`."""
    each = ", ".join(f"{count} {code}" for code, count in sorted(failed.items(), key=lambda pair: -pair[1]))
    return f"{sum(failed.values())}: {each}" if failed else "0"


def describe_run(summary: Summary) -> Lines:
    worked = f"this run worked {summary.made} items in {format_time(summary.seconds)}"
    yield summary.state, f"{summary.done} of {summary.rows} rows are done; {worked}"
    if summary.failed:
        yield "failed", describe_codes(summary.failed)
    if summary.missing:
        yield "missing", str(summary.missing)
    if summary.audio_h:
        factor = f", real-time factor {summary.real_time_factor:.3f}" if summary.real_time_factor else ""
        yield "audio", f"{format_time(summary.audio_h * 3600)}{factor}"
    if summary.slowest and summary.slowest[0][0] >= 0.1:
        yield "slowest", ", ".join(f"{name} ({format_time(seconds)})" for seconds, name in summary.slowest[:3])
    if summary.deaths:
        yield "deaths", f"the pipeline process died {summary.deaths} times and was started again"
    yield "where", f"{summary.out}/manifest.parquet" if summary.published and not summary.out.startswith(KAFKA) else summary.out
    if summary.next:
        yield "next", summary.next


def missing_models(plan: Plan, settings: Settings) -> dict[str, int | None]:
    """The models that a run would pull first, and their sizes where the table knows them."""
    from transforms import models
    from transforms.commands import known_bytes

    return {id: known_bytes(id) for id in plan.models if models.state(id, settings.models_dir).status == "missing"}


def threads(plan: Plan, settings: Settings) -> int:
    return settings.workers if plan.spec.new_engine().parallel == "threads" else 1


def describe_plan(plan: Plan, settings: Settings) -> Lines:
    row = plan.spec.row
    count = threads(plan, settings)
    size = f"{plan.weight:,.0f} characters" if row.unit == "char" else f"{plan.weight / 3600:.2f} hours of audio"
    for warning in plan.warnings:
        yield "warning", warning
    yield "would", f"{row.name} with {plan.spec.engine_name} from {plan.spec.source} into {plan.spec.out}"
    yield "rows", f"{plan.rows}, of which {plan.done} are done already"
    failed = dict(plan.refused)
    for code, number in plan.failed.items():
        failed[code] = failed.get(code, 0) + number
    if failed:
        yield "failed", describe_codes(failed)
    yield "to do", f"{plan.wanted} items in {len(plan.refs)} work units, {size}"
    yield "compute", f"about {format_time(plan.cost_s / count)} with {count} workers"
    if plan.option_columns:
        yield "options", f"from the columns {', '.join(plan.option_columns)}"
    if plan.carried_columns:
        yield "carried", ", ".join(plan.carried_columns)
    pulls = missing_models(plan, settings)
    if pulls:
        yield "to pull", ", ".join(f"{id} ({format_bytes(size)})" for id, size in pulls.items())


def describe_status(status: Status) -> Lines:
    counts = status.counts
    yield "what", f"{status.operation} with {status.engine} from {status.source}"
    if status.ranges:
        yield "ranges", f"{status.ranges}, the last of them {'not finished' if status.unfinished else 'finished'}"
    yield "done", f"{counts.done} of {counts.rows} rows"
    yield "failed", describe_codes(counts.failed)
    yield "missing", str(counts.missing)
    if counts.audio_s:
        yield "audio", format_time(counts.audio_s)
    for one in status.examples:
        yield "", f"{one['id'] or 'row ' + str(one['index'])}: {one['code']}: {one['detail']}"
    if counts.failures > len(status.examples):
        yield "", f"... and {counts.failures - len(status.examples)} more"
    for holder in status.holders:
        yield "running", holder
    yield "published", f"{status.published_rows} rows" if status.published_rows else "no"
    if status.holders:
        return
    if counts.missing or status.unfinished:
        yield "next", "the same `wavemill run` again goes on from here"
    elif status.ranges:
        yield "next", f"wavemill run {status.operation} '{status.source}' answers what has come since"
    elif not status.published_rows:
        yield "next", f"wavemill publish {status.out}"
    elif counts.failures:
        yield "next", f"wavemill replay {status.out}"
