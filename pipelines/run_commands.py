"""`wavemill run`, `plan` and `replay`: the commands that drive a run.

`run` and `plan` are groups whose subcommands are the rows of the operations table, with a flag for each option.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pipelines import flags, run_flags
from transforms.command_line import Lazy, Mount, new_settings, say
from transforms.errors import WavemillError, exit_code
from transforms.operations import OPERATIONS, operation
from transforms.scratch import temporary_folder

if TYPE_CHECKING:
    from pipelines.batch.run import Summary
    from pipelines.supervised import Control

TAKE_OVER = click.Option(["--take-over"], is_flag=True, help="Take OUT from the driver that holds it.")
PROBE = click.Option(["--probe"], is_flag=True, help="Open every audio input for its length, where the manifest gives none.")


class Operations(Lazy):
    """A group of the operations; one that the `--spec` file names need not be on the line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].replace("-", "_") not in OPERATIONS and (file := _spec_file(args)):
            from pipelines.spec import PipelineSpec

            # what else the file lacks the line may give
            args = [PipelineSpec.parse({"source": "-", "out": "-"}, file).row.name, *args]
        elif args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            raise click.UsageError(f"OPERATION comes first: {ctx.command_path} OPERATION SOURCE -o OUT", ctx)
        return super().parse_args(ctx, args)


def _spec_file(args: list[str]) -> str | None:
    for index, arg in enumerate(args):
        if arg == "--spec" and index + 1 < len(args):
            return args[index + 1]
        if arg.startswith("--spec="):
            return arg.partition("=")[2]
    return None


def _operations(verb: str, help: str) -> Operations:
    mounts = {
        name.replace("_", "-"): Mount(row.summary, f"pipelines.run_commands:{verb}_command", name) for name, row in OPERATIONS.items()
    }
    return Operations(verb, mounts={"Operations": mounts}, help=help, subcommand_metavar="OPERATION SOURCE -o OUT [FLAGS]")


run = _operations(
    "run",
    """Do an operation for every row of SOURCE and publish the results in OUT. Given again, it goes on where it stopped.

    SOURCE is a manifest (.jsonl, .csv, .tsv, .parquet), a text file or - (an item a line), or a folder or glob of audio;
    SOURCE and OUT may be any URL that fsspec knows. `wavemill run OPERATION --help` lists the flags.

    \b
    Examples:
      wavemill run synthesize lines.txt -o out/ --voice af_bella
      wavemill run transcribe 's3://bucket/calls/*.mp3' -o s3://bucket/text/
      wavemill run --spec job.yaml --limit 10
    """,
)
plan = _operations(
    "plan",
    """Say what `run` would do: items, size, estimated time, columns, weights to pull. Nothing is written.

    \b
    Examples:
      wavemill plan synthesize lines.txt -o out/
      wavemill plan transcribe calls/ -o out/ --json
    """,
)


def run_command(name: str) -> click.Command:
    """`wavemill run NAME`."""
    row = operation(name)

    def act(**params: Any) -> None:
        settings = new_settings(**run_flags.collect_place(params))
        spec = run_flags.read_spec(name, params, settings)
        spec.parse_options(spec.new_engine())

        def work(progress: Any, control: Control) -> Summary:
            from pipelines.batch import run

            return run.run(spec, settings, progress, control, params["take_over"])

        _drive(work, params["quiet"], params["as_json"])

    spelled = name.replace("_", "-")
    help = f"""{row.summary} One item for every row of SOURCE.

    \b
    Examples:
      wavemill run {spelled} manifest.jsonl -o out/
      wavemill run {spelled} manifest.csv -o s3://bucket/out/ --max-failures 1% --workers 4
      wavemill run {spelled} manifest.jsonl -o out/ --shard 0/4
    """
    places = [*run_flags.place_flags(), *run_flags.cluster_flags()]
    params = [*run_flags.spec_flags(), TAKE_OVER, *places, *run_flags.show_flags(), *flags.engine_flags(row)]
    return click.Command(spelled, params=params, callback=act, help=help)


def plan_command(name: str) -> click.Command:
    """`wavemill plan NAME`."""
    row = operation(name)

    def act(**params: Any) -> None:

        from pipelines.batch import drain, plan, summary
        from transforms.store import Store

        settings = new_settings(**run_flags.collect_place(params))
        spec = run_flags.read_spec(name, params, settings)
        with temporary_folder() as folder:
            if spec.drains:
                made = drain.preview(spec, settings, folder, params["probe"])
            else:
                made = plan.make(spec, settings, Store(spec.out, settings.storage_patience_s), folder, dry=True, probe=params["probe"])
        if params["as_json"]:
            facts = {key: value for key, value in asdict(made).items() if key not in ("spec", "refs", "work")}
            spent_s = made.cost_s / summary.threads(made, settings)
            facts |= {"spec": spec.model_dump(mode="json"), "units": len(made.refs), "estimated_s": round(spent_s, 3)}
            click.echo(json.dumps(facts | {"to_pull": summary.missing_models(made, settings)}, ensure_ascii=False))
        elif not params["quiet"]:
            click.echo(summary.format_lines(summary.describe_plan(made, settings)))

    spelled = name.replace("_", "-")
    help = f"""What `wavemill run {spelled}` with the same flags would do. Nothing is written.

    \b
    Examples:
      wavemill plan {spelled} manifest.jsonl -o out/
      wavemill plan {spelled} manifest.jsonl -o out/ --limit 100 --json
    """
    params = [*run_flags.spec_flags(), TAKE_OVER, PROBE, *run_flags.place_flags(), *run_flags.show_flags(), *flags.engine_flags(row)]
    return click.Command(spelled, params=params, callback=act, help=help)


def _drive(work: Callable[[Any, Control], Summary], quiet: bool, as_json: bool) -> None:
    """Do the work with signals and progress around it, say how it ended, and exit with its code."""
    from pipelines.batch import progress, summary
    from pipelines.batch.interrupts import Interrupts
    from pipelines.batch.run import SilentProgress
    from pipelines.supervised import Control

    control, shown = Control(), None if quiet else progress.for_stream()
    try:
        with Interrupts(control, shown or SilentProgress()) as told:
            ended = work(told, control)
    except WavemillError as error:
        if as_json:
            facts = {"state": "error", "exit_code": exit_code(error), "code": error.code, "detail": error.detail}
            click.echo(json.dumps(facts, ensure_ascii=False))
        raise
    finally:
        if shown:
            shown.close()
    if as_json:
        click.echo(json.dumps(asdict(ended), ensure_ascii=False))
    if not quiet or ended.exit_code:
        say(summary.format_lines(summary.describe_run(ended)))
    click.get_current_context().exit(ended.exit_code)


@click.command(params=[TAKE_OVER, *run_flags.place_flags(), *run_flags.cluster_flags(), *run_flags.show_flags()])
@click.argument("out")
def replay(out: str, take_over: bool, quiet: bool, as_json: bool, **place: Any) -> None:
    """Try the failures of OUT again, all of them, and publish again.

    \b
    Examples:
      wavemill replay out/
      wavemill replay s3://bucket/out/ --workers 4
    """
    settings = new_settings(**run_flags.collect_place(place))

    def work(progress: Any, control: Control) -> Summary:
        from pipelines.batch import run

        return run.replay(out, settings, progress, control, take_over)

    _drive(work, quiet, as_json)
