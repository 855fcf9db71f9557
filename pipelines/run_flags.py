"""The flags of every run: what to run, where it runs, and what is shown of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipelines.flags import Pair, collect_options
from transforms.command_line import say
from transforms.operations import operation

if TYPE_CHECKING:
    from pipelines.spec import PipelineSpec
    from transforms.settings import Settings


def place_flags() -> list[click.Parameter]:
    """Where it runs: `transforms.settings`."""
    return [
        click.Option(["--workers"], type=int, help="Engine threads; as many as cores when unset."),
        click.Option(["--device"], type=click.Choice(["cpu", "cuda", "mps", "auto"]), help="Where the engine runs; cpu when unset."),
        click.Option(["--no-pull"], is_flag=True, help="Fail when weights are missing instead of fetching them."),
    ]


def cluster_flags() -> list[click.Parameter]:
    """What else there is to say of where a run runs: on which cluster, and in how much memory."""
    return [
        click.Option(["--memory-limit-mb"], type=int, help="An engine's process that holds more is replaced between two work units."),
        *runner_flags("What runs the pipeline; this machine when unset."),
    ]


def runner_flags(help: str) -> list[click.Parameter]:
    return [
        click.Option(["--runner"], type=click.Choice(["local", "flink", "portable"]), help=help),
        click.Option(["--endpoint"], metavar="HOST:PORT", help="The job server of the cluster."),
        click.Option(["--pool"], metavar="HOST:PORT", help="Where each task manager finds its worker pool; localhost:50000 when unset."),
        click.Option(["--beam-option", "beam_options"], multiple=True, metavar="KEY=VALUE", help="An option of Beam's for the cluster."),
    ]


def show_flags() -> list[click.Parameter]:
    return [
        click.Option(["--quiet"], is_flag=True, help="No progress, and no summary unless something failed."),
        click.Option(["--json", "as_json"], is_flag=True, help="The result as one JSON object on standard output."),
    ]


def collect_place(params: dict[str, Any]) -> dict[str, Any]:
    """Overrides for `new_settings`."""
    names = ("workers", "device", "memory_limit_mb", "runner", "endpoint", "pool")
    given = {name: params.get(name) for name in names}
    return given | {"beam_options": params.get("beam_options") or None, "pull": False if params["no_pull"] else None}


def spec_flags() -> list[click.Parameter]:
    return [
        click.Argument(["source"], required=False),
        click.Option(["-o", "--out"], help="Where results go: a folder, any fsspec URL, or of a topic kafka://TOPIC."),
        click.Option(["--work"], metavar="URL", help="Where plan, parts and outputs stand when OUT is a topic."),
        click.Option(["--spec"], metavar="FILE", help="A YAML file of the same fields; the line wins."),
        click.Option(["--columns"], type=Pair(), multiple=True, help="An input or option, and its column: text=sentence."),
        click.Option(
            ["--split"],
            type=click.Choice(["line", "paragraph", "file"]),
            help="What an item of a text file is; line when unset.",
        ),
        click.Option(["--limit"], type=int, help="Only the first N rows."),
        click.Option(["--shard"], metavar="i/n", help="Only the share i of n, 0 <= i < n; `publish` joins them."),
        click.Option(["--unit-items"], type=int, help="Most items of a work unit; 200 when unset."),
        click.Option(["--max-failures"], metavar="N|P%", help="More failed rows than this exit 1; 0% when unset."),
        click.Option(["--fail-fast"], is_flag=True, default=None, help="Stop, unpublished, as soon as too many failed."),
        click.Option(["--allow-shrink"], is_flag=True, default=None, help="Publish fewer rows than are published now."),
        click.Option(
            ["--check-inputs"], is_flag=True, default=None, help="Ask also inputs that no listing shows (http) whether they changed."
        ),
    ]


SPEC_FIELDS = (
    "source",
    "out",
    "engine",
    "work",
    "split",
    "limit",
    "shard",
    "unit_items",
    "max_failures",
    "fail_fast",
    "allow_shrink",
    "check_inputs",
)


def read_spec(name: str, params: dict[str, Any], settings: Settings) -> PipelineSpec:
    """The spec of the line, over that of the file it names, with its engine settled. Raises `UsageError`, `bad_usage`, `model_unavailable`."""
    from pipelines.spec import PipelineSpec

    values = {field: params[field] for field in SPEC_FIELDS if params[field] is not None}
    values["operation"] = name
    for field, given in (("options", collect_options(operation(name), params)), ("columns", dict(params["columns"]))):
        if given:
            values[field] = given
    if params["spec"] is None:
        for field, shown in (("source", "SOURCE"), ("out", "-o OUT")):
            if field not in values:
                raise click.UsageError(f"{shown} is missing")
    spec, why = PipelineSpec.parse(values, params["spec"]).settled(settings)
    if why and not params["quiet"]:
        say(f"wavemill: {why}")
    return spec
