"""The commands over what a run left in OUT: status, publish, clean, export, join."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from transforms.command_line import format_bytes, format_time, new_settings, say
from transforms.errors import WavemillError

OUT = click.argument("out")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="The result as one JSON object on standard output.")


@click.command()
@OUT
@AS_JSON
def status(out: str, as_json: bool) -> None:
    """What is done in OUT, what failed and why, what is missing, and who works on it.

    \b
    Examples:
      wavemill status out/
      wavemill status s3://bucket/out/ --json
    """
    from pipelines.batch import status as statuses, summary

    found = statuses.status(out, new_settings())
    click.echo(json.dumps(asdict(found), ensure_ascii=False) if as_json else summary.format_lines(summary.describe_status(found)))


@click.command()
@OUT
@click.option("--partial", is_flag=True, help="Publish although rows have no outcome yet; they get the status missing.")
@AS_JSON
def publish(out: str, partial: bool, as_json: bool) -> None:
    """Join what runs or shards have done into OUT/manifest.parquet.

    \b
    Examples:
      wavemill publish out/
      wavemill publish out/ --partial
    """
    from pipelines.batch import plan, run, summary
    from pipelines.spec import PipelineSpec
    from transforms.store import Store

    settings = new_settings()
    counts = run.publish(out, settings, partial)
    store = Store(out, settings.storage_patience_s)
    allowed = PipelineSpec.parse({**plan.require_stored(store)["spec"], "out": out}).allows(counts.failures, counts.rows)
    if as_json:
        click.echo(json.dumps(asdict(counts)))
    else:
        lines = [("published", f"{counts.rows} rows in {store.url}/manifest.parquet"), ("done", str(counts.done))]
        lines += [("failed", summary.describe_codes(counts.failed))] if counts.failed else []
        say(summary.format_lines([*lines, *([("missing", str(counts.missing))] if counts.missing else [])]))
    click.get_current_context().exit(0 if allowed else 1)


@click.command()
@OUT
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@AS_JSON
def clean(out: str, dry_run: bool, as_json: bool) -> None:
    """Drop the blobs that no row of OUT names and that are older than a day, and rewrite its parts as one.

    \b
    Examples:
      wavemill clean out/ --dry-run
      wavemill clean out/
    """
    from pipelines.batch import clean as cleaning

    facts = cleaning.clean(out, new_settings(), dry_run)
    verb = "would drop" if dry_run else "dropped"
    gone = f"{facts['blobs']} blobs ({format_bytes(facts['bytes'])}) and {facts['plans']} old plan files"
    text = f"{verb} {gone}; {facts['parts']} parts become one"
    click.echo(json.dumps(facts) if as_json else text)


@click.command()
@OUT
@click.argument("folder", metavar="DIR")
@click.option(
    "--name",
    "pattern",
    default="{id}.{ext}",
    show_default=True,
    help="Fields: id, index, key, ext, name, language, or a column.",
)
@AS_JSON
def export(out: str, folder: str, pattern: str, as_json: bool) -> None:
    """Copy the outputs of OUT to DIR as files named for people. Two outputs of one name are refused before any is copied.

    \b
    Examples:
      wavemill export out/ clips/
      wavemill export out/ clips/ --name '{index:05}-{id}.{ext}'
    """
    from pipelines.batch import export as exporting

    count = exporting.export(out, folder, pattern, new_settings())
    click.echo(json.dumps({"files": count, "folder": folder}) if as_json else f"{count} files in {folder}")


@click.command()
@OUT
@click.option("-o", "--output", "target", required=True, help="The file; its suffix is the format.")
@click.option(
    "--pause",
    "pause_s",
    type=click.FloatRange(0, 60),
    default=0.6,
    show_default=True,
    help="Seconds of silence between two rows.",
)
@click.option("--loudness", type=float, help="Integrated loudness of the whole in LUFS; as it is when unset.")
@click.option("--true-peak", type=float, help="Ceiling in dBTP when loudness is set; -1 when unset.")
@click.option("--bitrate", type=int, help="kbit/s, for lossy formats.")
@AS_JSON
def join(
    out: str, target: str, pause_s: float, loudness: float | None, true_peak: float | None, bitrate: int | None, as_json: bool
) -> None:
    """Join the audio of OUT, in input order, into one file.

    \b
    Examples:
      wavemill join out/ -o story.mp3
      wavemill join out/ -o story.m4a --loudness -16 --pause 1
    """
    from pipelines.batch import concat
    from transforms.options import AudioOptions

    given = {
        "format": Path(target).suffix.lower().lstrip("."),
        "loudness": loudness,
        "true_peak": true_peak,
        "bitrate": bitrate,
    }
    try:
        options = AudioOptions.parse({name: value for name, value in given.items() if value is not None})
    except WavemillError as error:
        raise WavemillError("bad_usage", error.detail, error.field) from None
    made = concat.join(out, target, new_settings(), pause_s, options)
    if as_json:
        click.echo(json.dumps(asdict(made), ensure_ascii=False))
    else:
        say(f"{made.target}: {made.items} rows, {format_time(made.duration_s)}, {made.lufs} LUFS, {made.true_peak_dbtp} dBTP")
