"""`wavemill stream`: a group of the operations, as `wavemill run` is."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from pipelines import flags, run_flags
from transforms.command_line import Lazy, Mount, new_settings, say
from transforms.errors import WavemillError
from transforms.operations import OPERATIONS, operation

if TYPE_CHECKING:
    from pipelines.stream.spec import StreamSpec
    from transforms.settings import Settings

stream = Lazy(
    "stream",
    mounts={
        "Operations": {
            name.replace("_", "-"): Mount(row.summary, "pipelines.stream_commands:stream_command", name) for name, row in OPERATIONS.items()
        }
    },
    subcommand_metavar="OPERATION --input TOPIC --output TOPIC --failures TOPIC --group NAME [FLAGS]",
    help="""Do an operation for every message of a Kafka topic, each exactly once, until told to stop (SIGTERM drains).

    Messages are JSON claims (sources/claim.schema.json), answers are JSON (sinks/reply.schema.json). More workers of one group
    share the topic's partitions. docs/delivery.md says what is promised.

    \b
    Examples:
      wavemill stream transcribe --input calls --output texts --failures failed --group asr -o s3://bucket/texts/
      wavemill stream transcribe --live --state sessions --input chunks --output heard --failures failed --group live
      wavemill stream synthesize --input lines --output clips --failures failed --group tts -e piper -O format=wav
    """,
)


def _topic_flags() -> list[click.Parameter]:
    return [
        click.Option(["--input"], required=True, metavar="TOPIC", help="Where claims come from."),
        click.Option(["--output"], required=True, metavar="TOPIC", help="Where results go."),
        click.Option(
            ["--failures"], required=True, metavar="TOPIC", help="Where items that fail and broken messages go, with their bytes."
        ),
        click.Option(["--group"], required=True, metavar="NAME", help="The consumer group; its workers share the partitions."),
        click.Option(
            ["--brokers"], envvar="KAFKA_BOOTSTRAP_SERVERS", metavar="HOST:PORT", help="Some brokers, by commas.  [127.0.0.1:9092]"
        ),
        click.Option(
            ["-o", "--out"], metavar="URL", help="Where outputs are kept: a folder or any fsspec URL; ./TOPIC of --output when unset."
        ),
        click.Option(["--worker"], default="", metavar="NAME", help="This worker's own name; under it a restart goes on at once."),
        click.Option(["--max-poll"], type=click.IntRange(1, 10_000), default=64, show_default=True, help="Most messages of a batch."),
        click.Option(["--max-audio"], type=click.FloatRange(1), default=600.0, show_default=True, help="Most seconds of audio of a batch."),
        click.Option(
            ["--drain"], type=click.FloatRange(0), default=30.0, show_default=True, help="Seconds a batch may take to end on SIGTERM."
        ),
        click.Option(["--metrics"], metavar="[HOST:]PORT", help="Answer /metrics (Prometheus) and /healthz there."),
    ]


def _live_flags() -> list[click.Parameter]:
    return [
        click.Option(
            ["--live"], is_flag=True, help="Messages are chunks of sessions (sources/chunk.schema.json), heard while they are spoken."
        ),
        click.Option(
            ["--state"], default="", metavar="TOPIC", help="Where live sessions are kept: compacted, as many partitions as --input."
        ),
        click.Option(
            ["--idle"],
            type=click.FloatRange(1),
            default=30.0,
            show_default=True,
            help="Seconds after which a silent live session is closed.",
        ),
    ]


def _require_job(params: dict[str, Any]) -> None:
    """Refuse what a job of a Beam runner does not have."""
    for flag in ("live", "metrics", "worker"):
        if params.get(flag):
            raise click.UsageError(f"--{flag} and --runner exclude each other")


def _state_topic(params: dict[str, Any]) -> str:
    state = str(params.get("state", ""))
    if bool(state) != params.get("live", False):
        raise click.UsageError("--live and --state TOPIC belong together")
    return state


def stream_command(name: str) -> click.Command:
    """`wavemill stream NAME`."""
    row = operation(name)

    def act(**params: Any) -> None:
        from pipelines.stream.spec import StreamSpec
        from pipelines.supervised import Control
        from transforms.choosing import settle
        from transforms.settings import KafkaAccess
        from transforms.steps import check_options

        settings = new_settings(**run_flags.collect_place(params))
        if settings.runner != "local":
            _require_job(params)
        chosen, given, why = settle(row.name, params["engine"] or "", flags.collect_options(row, params))
        if why:
            say(f"wavemill: {why}")
        spec = StreamSpec(
            operation=row.name,
            engine=chosen,
            options=given,
            input=params["input"],
            output=params["output"],
            failures=params["failures"],
            group=params["group"],
            out=params["out"] or params["output"],
            worker=params["worker"],
            max_poll=params["max_poll"],
            max_audio_s=params["max_audio"],
            drain_s=params["drain"],
            state=_state_topic(params),
            idle_s=params.get("idle", 30.0),
        )
        if spec.input in (spec.output, spec.failures, spec.state):
            raise click.UsageError(f"--input {spec.input} is also written to")
        engine = spec.new_engine()
        try:
            options = engine.Options.parse(dict(spec.options))
        except WavemillError as error:
            raise WavemillError("bad_usage", error.detail, error.field) from None
        check_options(engine, options)
        try:
            import kafka  # noqa: F401
        except ImportError:
            raise WavemillError("bad_usage", "Kafka's client is not installed; pip install 'wavemill[kafka]' brings it") from None
        if settings.runner != "local":
            _run_jobs(spec, settings, params)
            return
        from pipelines.stream.live import LiveWorker
        from pipelines.stream.watch import Watch
        from pipelines.stream.worker import Worker

        access = KafkaAccess.here(params["brokers"])
        control, watch = Control(), Watch()
        if params["metrics"]:
            host, _, port = params["metrics"].rpartition(":")
            say(f"wavemill: metrics and health at port {watch.serve(host, int(port))}")
        _obey_signals(control)
        worker = (LiveWorker if spec.state else Worker)(spec, settings, access, control, watch, lambda text: say(f"wavemill: {text}"))
        ended = worker.run()
        watch.close()
        say("wavemill: stopped; the group goes on from here")
        if not ended:
            os._exit(0)  # a piece that does not end must not keep the process

    spelled = name.replace("_", "-")
    help = f"""{row.summary} One item for every message of a topic.

    \b
    Example:
      wavemill stream {spelled} --input in --output out --failures failed --group {spelled} --brokers 127.0.0.1:9092
    """
    params = [
        *_topic_flags(),
        *(_live_flags() if row.name == "transcribe" else []),
        *run_flags.runner_flags("Experimental: a job of this Beam runner does the work, and this command watches it."),
        *run_flags.place_flags(),
        *flags.engine_flags(row),
    ]
    return click.Command(spelled, params=params, callback=act, help=help)


def _run_jobs(spec: StreamSpec, settings: Settings, params: dict[str, Any]) -> None:
    from dataclasses import replace

    from pipelines.cluster.jobs import flags as beam_flags
    from pipelines.stream.jobs import Jobs
    from pipelines.supervised import Control
    from transforms.settings import KafkaAccess
    from transforms.store import Store

    if not settings.endpoint:
        raise click.UsageError("--runner needs --endpoint")
    control = Control()
    _obey_signals(control)
    given = {name: value for name, value in run_flags.collect_place(params).items() if value is not None}
    spec = replace(spec, out=Store(spec.out, settings.storage_patience_s).url)  # workers stand in other folders
    access = KafkaAccess.here(params["brokers"])
    Jobs(spec, given, access, beam_flags(settings), control, lambda text: say(f"wavemill: {text}")).run()
    say("wavemill: the job is cancelled; the group goes on from here")


def _obey_signals(control: Any) -> None:
    """The first signal drains, the second stops at once."""

    def take(number: int, frame: FrameType | None) -> None:
        if control.reason is None:
            control.stop(signal.Signals(number).name)
        else:
            control.kill()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, take)
