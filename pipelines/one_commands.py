"""`wavemill synthesize`, `wavemill transcribe`: a command for each row of the operations table, on one or a few items."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, get_args

import click

from pipelines import flags, given, run_flags, targets
from pipelines.targets import STDOUT, Target
from transforms.command_line import CLEAR, Pulls, format_time, new_settings, say
from transforms.errors import WavemillError
from transforms.operations import Operation, operation
from transforms.options import AudioFormat
from transforms.scratch import temporary_folder

if TYPE_CHECKING:
    from transforms.options import Options
    from transforms.records import Input, Piece, Result
    from transforms.settings import Settings


def command(name: str) -> click.Command:
    """`wavemill NAME`."""
    row = operation(name)
    spelled = name.replace("_", "-")
    lines = [row.example]
    if row.inputs[row.main_input] == "text":
        arguments: list[click.Parameter] = [
            click.Argument(["given"], metavar="[TEXT | -]", nargs=1, required=False),
            click.Option(["--file"], help="Take the text from this file."),
        ]
        flags_of = " --to es" if row.name == "translate_text" else ""
        ending = "m4a" if row.output == "audio" else "out.txt"
        lines += [f"wavemill {spelled} --file story.txt{flags_of} -o story.{ending}"]
        lines += [f"fortune | wavemill {spelled} -{flags_of}" + (" -o - > out.mp3" if row.output == "audio" else "")]
    else:
        arguments = [click.Argument(["given"], metavar="FILE...", nargs=-1, required=row.main_input not in row.optional)]
        lines += [f"wavemill {spelled} *.mp3 -o results/", f"wavemill {spelled} - < talk.mp3"]
    others = [
        click.Option([f"--{other}", f"input_{other}"], required=other not in row.optional, help=f"The {other}.")
        for other in list(row.inputs)[1:]
    ]
    what = "A file, - for standard output" + (", or a folder." if row.inputs[row.main_input] == "audio" else ".")
    if row.output == "stems":
        what = "A file or a folder; each stem's name is put before the suffix."
    output = click.Option(["-o", "--output"], help=what)
    streams = []
    if row.name == "synthesize":
        streams = [click.Option(["--stream"], is_flag=True, help="Write each sentence as soon as it is spoken.")]
        lines += [f'wavemill {spelled} "Hello there. How are you?" --stream -o - | ffplay -']
    help = f"{row.summary} For one item or a few; `wavemill run {spelled}` is for many.\n\n\b\nExamples:\n  " + "\n  ".join(lines)
    params = [*arguments, *others, output, *streams, *run_flags.place_flags(), *run_flags.show_flags(), *flags.engine_flags(row)]
    return click.Command(spelled, params=params, callback=lambda **values: _act(row, values), help=help)


def _act(row: Operation, params: dict[str, Any]) -> None:
    from transforms.choosing import settle
    from transforms.engine import engine_class

    engine, values, why = settle(row.name, params["engine"] or "", flags.collect_options(row, params))
    if why and not params["quiet"]:
        say(f"wavemill: {why}")
    settings = new_settings(**run_flags.collect_place(params))
    with temporary_folder() as folder:
        names, inputs = given.read_inputs(row, params, str(folder))
        model = engine_class(row.name, engine).Options
        wanted = _targets(row, names, params["output"], values, model)
        if params["as_json"] and any(target.path == STDOUT for target in wanted):
            raise click.UsageError("--json and the output itself cannot both go to standard output")
        try:
            options = model.parse(values)
        except WavemillError as error:
            raise WavemillError("bad_usage", error.detail, error.field) from None
        if params.get("stream"):
            if params["as_json"]:
                raise click.UsageError("--json tells of a result when it is there; it does not go with --stream")
            _stream(engine, options, inputs[0], wanted[0], settings, params["quiet"])
        else:
            _work(row, engine, options, names, inputs, wanted, settings, params["quiet"], params["as_json"])


def _stream(engine: str, options: Options, inputs: dict[str, Input], target: Target, settings: Settings, quiet: bool) -> None:
    """A local file, or standard output, that grows while it is spoken."""
    from pipelines.one import stream_speech
    from transforms.storage import is_local

    path = target.path or STDOUT
    if path != STDOUT and not is_local(path):
        raise click.UsageError(f"{path}: only a file of this machine, or standard output, can grow while it is spoken")
    with _shown(quiet) as (_, on_bytes), closing(stream_speech(engine, options, inputs, settings, on_bytes)) as parts:
        first = next(parts)  # what is refused leaves a file that is there as it is
        with click.open_file(path, "wb") as out:
            for part in chain([first], parts):
                out.write(part)
                out.flush()


def _targets(row: Operation, names: list[str], output: str | None, values: dict[str, Any], model: type[Options]) -> list[Target]:
    """Where outputs go; the options that this decides are put into `values`."""
    if row.output in ("audio", "stems"):
        if row.output == "stems" and output == STDOUT:
            raise click.UsageError("several files are made, which do not fit into standard output")
        found = targets.for_audio(names, output, values.get("format"), get_args(AudioFormat))
        values["format"] = found[0].format
        return found
    if row.output == "data":
        return targets.for_text(names, output, [], targets.DATA_FORMATS)
    if row.inputs[row.main_input] == "text":
        return targets.for_text(names, output, [], targets.PLAIN_FORMATS)
    asked = [part.strip() for part in str(values.get("formats", "")).split(",") if part.strip()]
    found = targets.for_text(names, output, asked)
    if "formats" in model.model_fields:
        values["formats"] = tuple(dict.fromkeys(target.format for target in found if target.format != "json"))
    return found


def _work(
    row: Operation,
    engine: str,
    options: Options,
    names: Sequence[str],
    inputs: Sequence[dict[str, Input]],
    wanted: Sequence[Target],
    settings: Settings,
    quiet: bool,
    as_json: bool,
) -> None:
    from pipelines.one import run_items
    from transforms.records import Failure

    each = len(wanted) // len(names)
    reports: list[dict[str, Any]] = []
    began_s = time.monotonic()
    with _shown(quiet) as (on_pieces, on_bytes):
        outcomes = run_items(row.name, engine, options, inputs, settings, on_pieces, on_bytes)
        for index, (name, outcome) in enumerate(zip(names, outcomes, strict=True)):
            if isinstance(outcome, Failure):
                reports.append({"input": name, "status": "failed", "code": outcome.code, "detail": outcome.detail})
                say(f"wavemill: {outcome.code}: {'' if len(names) == 1 else name + ': '}{outcome.detail}")
                continue
            mine = wanted[each * index : each * (index + 1)]
            if row.output == "stems":
                stems = [(targets.for_stem(mine[0], name), output.data) for name, output in outcome.outputs.items()]
            else:
                stems = [(target, _content(target, row, outcome)) for target in mine]
            mine = [target for target, _ in stems]
            for target, data in stems:
                _write(target, data, settings, as_json)
            reports.append(_report(name, mine, outcome))
            if not quiet and not as_json and reports[-1]["paths"]:
                say(f"{', '.join(reports[-1]['paths'])}: {_describe(outcome, time.monotonic() - began_s)}")
    failed = sum(report["status"] == "failed" for report in reports)
    if as_json:
        click.echo(json.dumps({"done": len(names) - failed, "failed": failed, "items": reports}, ensure_ascii=False))
    elif failed and len(names) > 1:
        say(f"{failed} of {len(names)} failed")
    click.get_current_context().exit(1 if failed else 0)


def _report(name: str, mine: Sequence[Target], result: Result) -> dict[str, Any]:
    paths = [target.path for target in mine if target.path and target.path != STDOUT]
    return {"input": name, "status": "done", "paths": paths, "duration_s": _audio_s(result), **result.fields}


def _describe(result: Result, seconds: float) -> str:
    audio_s = _audio_s(result)
    return f"{format_time(audio_s)} of audio in {format_time(seconds)}" if audio_s else f"in {format_time(seconds)}"


def _audio_s(result: Result) -> float | None:
    return next((output.duration_s for output in result.outputs.values() if output.duration_s), result.fields.get("duration_s"))


def _write(target: Target, data: bytes, settings: Settings, as_json: bool) -> None:
    from transforms.storage import canonical
    from transforms.store import Store

    if target.path is None:
        if not as_json:
            click.echo(data.decode().rstrip("\n"))
    elif target.path == STDOUT:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        folder, _, name = canonical(target.path).rpartition("/")
        Store(folder, settings.storage_patience_s).write(name, data)


def _content(target: Target, row: Operation, result: Result) -> bytes:
    """The output in the target's format; plain text also where the operation gives only fields, which are what is shown of data."""
    format = target.format
    for output in result.outputs.values():
        if output.format == format and (target.path or row.output != "data"):
            data: bytes = output.data
            return data
    if format == "txt":
        return str(result.fields.get("text", "")).encode()
    return json.dumps(dict(result.fields), ensure_ascii=False).encode()


@contextmanager
def _shown(quiet: bool) -> Iterator[tuple[Any, Any]]:
    """What to tell of pieces and of weights on their way; on a terminal one line is drawn over."""
    if quiet:
        yield None, None
        return
    live, count = sys.stderr.isatty(), 0

    def on_pieces(pieces: Sequence[Piece], seconds: float) -> None:
        nonlocal count
        count += len(pieces)
        sys.stderr.write(f"{CLEAR}{count} pieces")
        sys.stderr.flush()

    try:
        yield (on_pieces if live else None), Pulls()
    finally:
        if live:
            sys.stderr.write(CLEAR)
