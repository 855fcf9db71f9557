"""The engine contract, and the table of engines.

To add one: a file in `transforms/engines/`, a line in `ENGINES`, and an extra in pyproject.toml when it needs packages of
its own. From outside, an entry point in the group `wavemill.engines` named `OPERATION.NAME` does the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, Literal

from transforms.errors import WavemillError, near
from transforms.options import Options as BaseOptions
from transforms.records import Item, Outcome, Piece

ENGINES: dict[str, dict[str, str]] = {
    "synthesize": {
        "kokoro": "transforms.engines.kokoro:Kokoro",
        "kokoro-torch": "transforms.engines.kokoro_torch:KokoroTorch",
        "piper": "transforms.engines.piper:Piper",
        "chatterbox": "transforms.engines.chatterbox:Chatterbox",
        "sherpa": "transforms.engines.sherpa_tts:SherpaSpeech",
        "echo": "transforms.engines.echo:EchoSpeech",
    },
    "transcribe": {
        "faster-whisper": "transforms.engines.faster_whisper:FasterWhisper",
        "sherpa": "transforms.engines.sherpa_asr:SherpaTranscript",
        "echo": "transforms.engines.echo:EchoTranscript",
    },
    "convert": {
        "pyav": "transforms.engines.pyav:PyAV",
    },
    "dereverb": {
        "wpe": "transforms.engines.wpe:WPE",
    },
    "enhance": {
        "deepfilternet": "transforms.engines.deepfilternet:DeepFilterNet",
        "gtcrn": "transforms.engines.gtcrn:GTCRN",
    },
    "separate": {
        "classical": "transforms.engines.classical:Classical",
        "demucs": "transforms.engines.demucs:Demucs",
    },
    "analyze": {
        "librosa": "transforms.engines.librosa:Librosa",
    },
    "embed": {
        "kokoro": "transforms.engines.kokoro_voice:KokoroEmbed",
        "chatterbox": "transforms.engines.chatterbox:ChatterboxEmbed",
    },
    "clone": {
        "kokoro": "transforms.engines.kokoro_voice:KokoroClone",
        "chatterbox": "transforms.engines.chatterbox:ChatterboxClone",
    },
    "convert_voice": {
        "cascade": "transforms.engines.cascade:ConvertVoice",
        "chatterbox": "transforms.engines.chatterbox_voice:ChatterboxConvert",
    },
    "translate": {
        "cascade": "transforms.engines.cascade:Translate",
    },
    "restyle": {
        "cascade": "transforms.engines.cascade:Restyle",
        "chatterbox": "transforms.engines.chatterbox_voice:ChatterboxRestyle",
    },
    "chat": {
        "cascade": "transforms.engines.voice_chat:VoiceChat",
    },
    "translate_text": {
        "apertium": "transforms.engines.apertium:Apertium",
        "ctranslate2": "transforms.engines.ctranslate2_text:CTranslate2",
        "openai": "transforms.engines.openai_text:OpenAITranslation",
        "echo": "transforms.engines.echo:EchoTranslation",
    },
    "complete": {
        "smollm": "transforms.engines.smollm:SmolLM",
        "openai": "transforms.engines.openai_text:OpenAICompletion",
        "echo": "transforms.engines.echo:EchoCompletion",
    },
}
TEST_DOUBLE = "echo"
"""The engine that no user is told of."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine runs: the device, how many of our threads will call `run` at once, and the weights' folder.

    An engine gives each call one intra-op thread; the cores are filled by calls, not inside them. With the device `auto`
    it takes the best that its library finds here.
    """

    device: str = "cpu"
    threads: int = 1
    models_dir: Path = Path()


class Engine:
    """A model behind `load`, `check`, `run` and `close`. Heavy imports belong inside `load`."""

    name: ClassVar[str]
    operation: ClassVar[str]
    Options: ClassVar[type[BaseOptions]]
    version: ClassVar[int] = 1
    """Raised whenever a default or the sound changes: it is part of every item's identity."""
    parallel: ClassVar[Literal["threads", "one"]] = "threads"
    """`threads`: `run` may be called by several threads at once; `one`: by one thread at a time."""
    deterministic: ClassVar[bool] = True
    languages: ClassVar[tuple[str, ...]] = ()
    rate_hz: ClassVar[int] = 0
    """Rate of the audio it takes and makes; 0 is the source's own."""
    channels: ClassVar[int] = 1
    """Channels of the audio it takes and makes; 0 is as many as the source has."""
    max_chars: ClassVar[int] = 0
    """Longest text piece, in characters after preparation."""
    max_s: ClassVar[float] = 0.0
    """Longest audio piece, in seconds; 0 is no limit."""
    overlap_s: ClassVar[float] = 0.0
    """How far each piece reaches into the last one, for engines whose output runs along their input."""
    max_batch: int = 1
    """Most pieces in one `run`; `load` may change it to what suits the device."""
    max_batch_s: ClassVar[float] = 0.0
    """Most seconds of audio in one `run` of several pieces, so that long pieces are shared out among threads; 0 is no limit."""
    padded: ClassVar[str] = ""
    """The input that is filled up to the longest of a batch, if one is: batches are then of pieces that are near in its length."""
    fits: float = math.inf
    """The largest padded cost of several pieces that the loaded model's memory is thought to hold; `steps.infer` lowers it."""
    cost_s: ClassVar[float] = 0.01
    """Compute seconds a unit (a character or a second of audio), fixed so that work units are the same everywhere."""
    gated: ClassVar[bool] = False
    """Real speech: each piece's edges are trimmed, and a piece that is mostly silent or of an implausible length fails."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that `load` imports, for `wavemill engines` and `doctor` to look for; `extra` is the extra that has them."""
    extra: ClassVar[str] = ""
    programs: ClassVar[tuple[str, ...]] = ()
    """Programs of the system that it runs."""
    carry: ClassVar[tuple[str, ...]] = ()
    """Options that, when unset, the first piece's result fixes for the item's other pieces (a detected language)."""

    def language(self, options: BaseOptions) -> str:
        """The language of what these options speak: the one that is set, else that of the voice (`en` unless overridden)."""
        return getattr(options, "language", None) or "en"

    def models(self, options: BaseOptions) -> tuple[str, ...]:
        """Rows of the weights table that these options need."""
        return ()

    def weights(self, options: BaseOptions) -> str:
        """The identity of the weights behind these options."""
        rows = self.models(options)
        if not rows:
            return ""
        from transforms import models

        return "+".join(models.identity(row) for row in rows)

    def check(self, item: Item) -> None:
        """Refuse what cannot work before anything is read. Needs neither weights nor heavy imports. Raises WavemillError."""

    def check_installed(self, options: BaseOptions) -> None:
        """Before weights are fetched in vain. Raises `engine_unloadable` with what to install."""
        if missing := absent(type(self)):
            wanted = f"wavemill[{self.extra}]" if self.extra else "wavemill"
            detail = f"the engine {self.name} needs {', '.join(missing)}, not installed here: pip install '{wanted}'"
            raise WavemillError("engine_unloadable", detail, "engine")

    def load(self, place: Place) -> None:
        """Make ready to run. Raises `model_missing`, `weights_mismatch` or `engine_unloadable`."""

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        """One outcome a piece, in order; the pieces have the same options. What is raised is taken as the failure of the whole list."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of the model."""


@cache
def _plugins() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for point in entry_points(group="wavemill.engines"):
        operation, _, name = point.name.partition(".")
        table.setdefault(operation, {})[name] = point.value
    return table


def engines(operation: str) -> dict[str, str]:
    """Name -> `module:Class` for one operation, our own first, plug-ins after."""
    return ENGINES.get(operation, {}) | _plugins().get(operation, {})


def engine_class(operation: str, name: str) -> type[Engine]:
    """The class of an engine, imported now. Raises `model_unavailable` with what there is."""
    known = engines(operation)
    if name not in known:
        raise WavemillError(
            "model_unavailable", f"no engine {name!r} for {operation}; there are {', '.join(known)}{near(name, known)}", "engine"
        )
    module, _, attribute = known[name].partition(":")
    found: type[Engine] = getattr(import_module(module), attribute)
    return found


def absent(cls: type[Engine]) -> list[str]:
    """The modules an engine needs that are not installed here."""
    return [module for module in cls.requires if find_spec(module.partition(".")[0]) is None]
