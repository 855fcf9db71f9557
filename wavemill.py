"""wavemill: one engine for bulk audio. The command line, and three functions for Python.

>>> import wavemill
>>> clip = wavemill.synthesize("Hello there", voice="af_bella")
>>> open("hello.mp3", "wb").write(clip.data)
>>> wavemill.transcribe("hello.mp3")["text"]
>>> wavemill.run({"operation": "synthesize", "source": "lines.txt", "out": "out/"}).done
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import click

from transforms.command_line import Lazy, Mount, say
from transforms.errors import WavemillError, exit_code, is_full, temporary_full
from transforms.operations import OPERATIONS

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.batch.run import Summary
    from pipelines.spec import PipelineSpec
    from transforms.records import Encoded, Input, Result
    from transforms.settings import Settings

COMMANDS = {
    "One item or a few": {
        name.replace("_", "-"): Mount(row.summary, "pipelines.one_commands:command", name) for name, row in OPERATIONS.items()
    },
    "Many items": {
        "run": Mount("Do an operation for every row of a manifest; resumes by itself.", "pipelines.run_commands:run"),
        "stream": Mount("Do an operation for every message of a Kafka topic, exactly once.", "pipelines.stream_commands:stream"),
        "plan": Mount("Say what run would do.", "pipelines.run_commands:plan"),
        "status": Mount("What is done, failed and missing in an OUT.", "pipelines.commands:status"),
        "replay": Mount("Try the failures of an OUT again.", "pipelines.run_commands:replay"),
        "publish": Mount("Join what shards or stopped runs have done.", "pipelines.commands:publish"),
        "clean": Mount("Drop blobs that no row names.", "pipelines.commands:clean"),
        "export": Mount("Copy outputs to files named for people.", "pipelines.commands:export"),
        "join": Mount("Join the audio of an OUT into one file.", "pipelines.commands:join"),
    },
    "This machine": {
        "models": Mount("List, pull and verify weights.", "transforms.commands:models"),
        "engines": Mount("What each operation can be done with.", "transforms.commands:engines"),
        "voices": Mount("The voices, and those that are saved.", "pipelines.voice_commands:voices"),
        "doctor": Mount("Check what is needed and say what to do.", "pipelines.doctor:doctor"),
        "worker-pool": Mount("Start workers for a cluster's task manager on this host.", "pipelines.cluster.commands:worker_pool"),
        "dev": Mount("Real services for trying.", "pipelines.dev.commands:dev"),
    },
}


class Root(Lazy):
    """The whole command line: where every exception becomes an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        kwargs.setdefault("prog_name", "wavemill")
        try:
            sys.exit(super().main(*args, **kwargs) or 0)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort as error:
            say("wavemill: interrupted")
            sys.exit(getattr(error.__cause__, "exit_code", 130))
        except WavemillError as error:
            say(f"wavemill: {error.code}: {error.detail}")
            sys.exit(exit_code(error))
        except Exception as error:
            if is_full(error):
                say(f"wavemill: storage_full: {temporary_full().detail}")
                sys.exit(3)
            sys.exit(_report(error))


def _report(error: Exception) -> int:
    """Tell of an exception that nobody expected, and give its exit code."""
    import traceback

    if os.environ.get("WAVEMILL_DEBUG"):
        traceback.print_exception(error)
        return 3
    with tempfile.NamedTemporaryFile("w", prefix="wavemill-", suffix=".log", delete=False) as log:
        log.write(f"{sys.argv}\n")
        traceback.print_exception(error, file=log)
    say(f"wavemill: internal: {type(error).__name__}: {error}; {log.name} says where")
    return 3


@click.group("wavemill", cls=Root, mounts=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 128})
@click.version_option(package_name="wavemill", message="wavemill %(version)s")
def root() -> None:
    """One engine for bulk audio: speech from text, text from speech, for one item or millions.

    \b
    Examples:
      wavemill synthesize "Hello there" -o hello.mp3
      wavemill run synthesize lines.txt -o out/ --voice af_bella
      wavemill transcribe talk.mp3 -o talk.srt
    """


def main() -> NoReturn:
    """The console script."""
    root.main()


def run(spec: PipelineSpec | Mapping[str, Any], settings: Settings | None = None) -> Summary:
    """Run, or go on with, a spec; item failures are in the summary. Raises `WavemillError`.

    >>> summary = wavemill.run({"operation": "synthesize", "source": "lines.txt", "out": "out/", "engine": "echo"})
    >>> summary.done, summary.failed
    """
    from pipelines.batch import run as runs
    from pipelines.spec import PipelineSpec
    from pipelines.supervised import Control
    from transforms.command_line import new_settings

    whole = spec if isinstance(spec, PipelineSpec) else PipelineSpec.parse(dict(spec))
    settings = settings or new_settings()
    return runs.run(whole.settled(settings)[0], settings, runs.SilentProgress(), Control())


def synthesize(text: str, engine: str = "", settings: Settings | None = None, **options: Any) -> Encoded:
    """Speak a text: `data` (the file's bytes), `format`, `duration_s`. Raises `WavemillError` also for a failed item.

    >>> clip = wavemill.synthesize("Hello there", voice="af_bella", format="wav")
    >>> clip.duration_s
    """
    from transforms.records import Input

    made = _one("synthesize", engine, options, {"text": Input("text", text)}, settings)
    found: Encoded = made.outputs["audio"]
    return found


def transcribe(path: str | Path, engine: str = "", settings: Settings | None = None, **options: Any) -> dict[str, Any]:
    """Write down what is said in a file (or at a URL): the transcript with `text`, `language`, `segments`.

    Raises `WavemillError` also for a failed item.

    >>> wavemill.transcribe("talk.mp3", language="en")["text"]
    """
    import json

    from transforms.records import Input
    from transforms.storage import canonical

    made = _one("transcribe", engine, options, {"audio": Input("uri", canonical(str(path)))}, settings)
    transcript = next(output for output in made.outputs.values() if output.format == "json")
    found: dict[str, Any] = json.loads(transcript.data)
    return found


def _one(name: str, engine: str, values: dict[str, Any], inputs: dict[str, Input], settings: Settings | None) -> Result:
    from pipelines.one import run_one
    from transforms.choosing import settle
    from transforms.command_line import new_settings

    chosen = settle(name, engine, values)
    return run_one(name, chosen.engine, chosen.options, inputs, settings or new_settings())


if __name__ == "__main__":
    main()
