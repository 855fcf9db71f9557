"""Operations are one table: the command line, the manifest's columns, the API and the docs derive from it.

To add one: a row here and a module with `Options`, `split` and `join` (see `transforms/synthesize.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from transforms.errors import WavemillError, near
from transforms.records import Audio, Item, Piece, Result

if TYPE_CHECKING:
    from transforms.engine import Engine
    from transforms.options import Options

AUDIO_ALIASES = ("audio", "audio_filepath", "path", "file_name", "uri")


class OperationModule(Protocol):
    """What the module of an operation holds: the steps around its engines."""

    Options: type[Options]
    VERSION: int
    """Version of preparation, splitting and joining: part of every item's identity."""

    def split(self, item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
        """Pieces under the engine's limit, in order. Raises WavemillError for an item nothing can be made of."""

    def join(self, item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
        """The item's result from those of its pieces."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A row: `inputs` maps each input's name to `text` or `audio`; the first is the one that is split and measured.

    Those in `optional` may be left out of an item, but one at least is always there. `output` is what is made: audio,
    `stems` (several audio outputs), text (of audio, with its captions), or `data` (fields, and their JSON).
    """

    name: str
    inputs: Mapping[str, Literal["text", "audio"]]
    output: Literal["audio", "stems", "text", "data"]
    unit: Literal["char", "audio_s"]
    default_engine: str
    summary: str
    example: str
    optional: frozenset[str] = frozenset()

    @property
    def module(self) -> OperationModule:
        return cast(OperationModule, import_module(f"transforms.{self.name}"))

    @property
    def main_input(self) -> str:
        return next(iter(self.inputs))


OPERATIONS: dict[str, Operation] = {
    row.name: row
    for row in (
        Operation(
            name="synthesize",
            inputs={"text": "text"},
            output="audio",
            unit="char",
            default_engine="kokoro",
            summary="Speak text.",
            example='wavemill synthesize "Hello there" -o hello.mp3 --voice af_bella',
        ),
        Operation(
            name="transcribe",
            inputs={"audio": "audio"},
            output="text",
            unit="audio_s",
            default_engine="faster-whisper",
            summary="Write down what is said.",
            example="wavemill transcribe talk.mp3 -o talk.srt",
        ),
        Operation(
            name="convert",
            inputs={"audio": "audio"},
            output="audio",
            unit="audio_s",
            default_engine="pyav",
            summary="Change format, bitrate, rate, channels or loudness.",
            example="wavemill convert talk.wav -o talk.mp3 --bitrate 128 --loudness -16",
        ),
        Operation(
            name="dereverb",
            inputs={"audio": "audio"},
            output="audio",
            unit="audio_s",
            default_engine="wpe",
            summary="Take out a room's reverberation and its echo.",
            example="wavemill dereverb hall.wav -o dry.wav --type reverb --intensity 4",
        ),
        Operation(
            name="enhance",
            inputs={"audio": "audio"},
            output="audio",
            unit="audio_s",
            default_engine="deepfilternet",
            summary="Take noise away and make speech clearer.",
            example="wavemill enhance interview.wav -o interview.mp3 --strength 3",
        ),
        Operation(
            name="separate",
            inputs={"audio": "audio"},
            output="stems",
            unit="audio_s",
            default_engine="classical",
            summary="Take voices and accompaniment apart, or instruments.",
            example="wavemill separate song.mp3 -o stems/",
        ),
        Operation(
            name="analyze",
            inputs={"audio": "audio"},
            output="data",
            unit="audio_s",
            default_engine="librosa",
            summary="Find key, tempo and meter of music.",
            example="wavemill analyze song.mp3",
        ),
        Operation(
            name="embed",
            inputs={"audio": "audio"},
            output="data",
            unit="audio_s",
            default_engine="kokoro",
            summary="Find the voice of a recording, for later use.",
            example="wavemill embed me.wav -o me.json",
        ),
        Operation(
            name="clone",
            inputs={"text": "text", "reference": "audio"},
            output="audio",
            unit="char",
            default_engine="kokoro",
            summary="Speak text in the voice of a recording.",
            example='wavemill clone "Hello there" --reference me.wav -o hello.mp3',
        ),
        Operation(
            name="convert_voice",
            inputs={"audio": "audio", "target": "audio"},
            optional=frozenset({"target"}),
            output="audio",
            unit="audio_s",
            default_engine="cascade",
            summary="Say a recording again in another voice.",
            example="wavemill convert-voice talk.mp3 --target me.wav -o mine.mp3",
        ),
        Operation(
            name="translate",
            inputs={"audio": "audio", "target": "audio"},
            optional=frozenset({"target"}),
            output="audio",
            unit="audio_s",
            default_engine="cascade",
            summary="Say a recording in another language.",
            example="wavemill translate discurso.mp3 --to en --preserve-voice -o speech.mp3",
        ),
        Operation(
            name="restyle",
            inputs={"audio": "audio", "target": "audio"},
            optional=frozenset({"target"}),
            output="audio",
            unit="audio_s",
            default_engine="cascade",
            summary="Say a recording again at another speed or in another mood.",
            example="wavemill restyle talk.mp3 --emotion happy --speed 1.1 -o happy.mp3",
        ),
        Operation(
            name="chat",
            inputs={"audio": "audio", "text": "text"},
            optional=frozenset({"audio", "text"}),
            output="audio",
            unit="audio_s",
            default_engine="cascade",
            summary="Answer what is said, in speech.",
            example='wavemill chat question.wav --system "Be brief." -o answer.mp3',
        ),
        Operation(
            name="translate_text",
            inputs={"text": "text"},
            output="text",
            unit="char",
            default_engine="apertium",
            summary="Say a text in another language.",
            example='wavemill translate-text "Good morning" --to es',
        ),
        Operation(
            name="complete",
            inputs={"text": "text"},
            output="text",
            unit="char",
            default_engine="smollm",
            summary="Answer a message with a language model.",
            example='wavemill complete "What is the capital of France?" --system "Be brief."',
        ),
    )
}


def operation(name: str) -> Operation:
    """The row of that name (`convert-voice` finds `convert_voice`). Raises `bad_usage` with the near ones."""
    found = OPERATIONS.get(name.replace("-", "_"))
    if found is None:
        raise WavemillError("bad_usage", f"unknown operation {name!r}; there are {', '.join(OPERATIONS)}{near(name, OPERATIONS)}")
    return found
