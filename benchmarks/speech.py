"""Operations done in this process, as a user's command would do them, and audio between them as WAV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.one import run_items
from transforms import codec
from transforms.engine import engine_class
from transforms.operations import operation
from transforms.options import AudioOptions
from transforms.records import Audio, Input, Result
from transforms.settings import Settings


def done(operation_name: str, given: Sequence[str | Path], engine: str = "", **options: Any) -> list[Result]:
    """The results for texts or files, by the default engine unless another is named. Raises RuntimeError where one fails."""
    row = operation(operation_name)
    engine = engine or row.default_engine
    inputs = [{row.main_input: Input("uri" if isinstance(one, Path) else "text", str(one))} for one in given]
    results = []
    for outcome in run_items(row.name, engine, engine_class(row.name, engine).Options.parse(options), inputs, Settings()):
        if not isinstance(outcome, Result):
            raise RuntimeError(f"{operation_name}: {outcome}")
        results.append(outcome)
    return results


def speak(texts: Sequence[str], engine: str, **options: Any) -> list[Audio]:
    return [opened(one.outputs["audio"].data) for one in done("synthesize", texts, engine, format="wav", **options)]


def hear(files: Sequence[Path], **options: Any) -> list[str]:
    return [one.fields["text"] for one in done("transcribe", files, **options)]


def opened(source: bytes | Path) -> Audio:
    return codec.decode(source, None, None, 7200.0)


def saved(audio: Audio, path: Path) -> Path:
    path.write_bytes(codec.encode(audio, AudioOptions(format="wav")).data)
    return path
