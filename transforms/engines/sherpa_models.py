"""What a folder of a sherpa-onnx model holds: one table of kinds, from which files are found and configurations built.

The folder is the user's, so nothing pins it: its identity is the digest of its files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Literal

from transforms.errors import WavemillError, near

Patterns = tuple[str, ...]
MODEL: Patterns = ("model.int8.onnx", "model.onnx", "*.onnx")
TOKENS: Patterns = ("tokens.txt", "*tokens.txt")
LEXICON: Patterns = ("lexicon.txt", "lexicon-*.txt")


@dataclass(frozen=True, slots=True)
class Kind:
    """A row: `files` maps each field of the family's configuration to file names, of which the first that is there is taken.

    `phonemes` is who says the text where the folder has no lexicon; `rules` are sherpa's own text rules, all that are there.
    """

    operation: Literal["synthesize", "transcribe", "diarize"]
    family: str
    files: Mapping[str, Patterns]
    optional: Mapping[str, Patterns] = field(default_factory=dict)
    phonemes: Literal["", "espeak", "misaki"] = ""
    rules: Patterns = ()
    checked: str = "configuration checked, not run"


_RULES: Patterns = ("phone.fst", "date.fst", "number.fst", "new_heteronym.fst")
_VOICES: dict[str, Patterns] = {"model": ("model.int8.onnx", "model*.onnx", "*.onnx"), "voices": ("voices.bin",), "tokens": TOKENS}

KINDS: dict[str, Kind] = {
    "vits": Kind("synthesize", "vits", {"model": MODEL, "lexicon": LEXICON, "tokens": TOKENS}, rules=_RULES),
    "melotts": Kind("synthesize", "vits", {"model": MODEL, "lexicon": LEXICON, "tokens": TOKENS}, rules=_RULES),
    "piper": Kind(
        "synthesize", "vits", {"model": MODEL, "tokens": TOKENS}, {"lexicon": LEXICON}, phonemes="espeak", checked="run with real weights"
    ),
    "matcha": Kind(
        "synthesize",
        "matcha",
        {"acoustic_model": ("model-steps-*.onnx", "model*.onnx"), "vocoder": ("vocos*.onnx", "hifigan*.onnx"), "tokens": TOKENS},
        {"lexicon": LEXICON},
        phonemes="espeak",
        rules=_RULES,
    ),
    "kitten": Kind("synthesize", "kitten", _VOICES, {"lexicon": LEXICON}, phonemes="espeak"),
    "kokoro": Kind("synthesize", "kokoro", _VOICES, phonemes="misaki", checked="run with real weights"),
    "sensevoice": Kind("transcribe", "sense_voice", {"model": MODEL, "tokens": TOKENS}, checked="run with a toy model"),
    "paraformer": Kind("transcribe", "paraformer", {"paraformer": MODEL, "tokens": TOKENS}),
    "whisper": Kind(
        "transcribe",
        "whisper",
        {
            "encoder": ("*encoder.int8.onnx", "*encoder.onnx"),
            "decoder": ("*decoder.int8.onnx", "*decoder.onnx"),
            "tokens": TOKENS,
        },
        checked="run with real weights",
    ),
    "pyannote": Kind(
        "diarize",
        "pyannote",
        {"segmentation": ("model.int8.onnx", "model.onnx"), "embedding": ("3dspeaker*.onnx", "wespeaker*.onnx", "nemo*.onnx")},
        checked="run with toy models",
    ),
}


def kinds(operation: str) -> str:
    """The kinds of an operation for people, by how each was tried: `vits, matcha (configuration checked, not run); piper (...)`."""
    by_check: dict[str, list[str]] = {}
    for id, row in KINDS.items():
        if row.operation == operation:
            by_check.setdefault(row.checked, []).append(id)
    return "; ".join(f"{', '.join(ids)} ({checked})" for checked, ids in by_check.items())


def kind_of(operation: str, name: str) -> Kind:
    """The row of that name. Raises `bad_option` with those of the operation."""
    names = [id for id, row in KINDS.items() if row.operation == operation]
    if name not in names:
        raise WavemillError("bad_option", f"kind: sherpa has {', '.join(names)}, not {name!r}{near(name, names)}", "kind")
    return KINDS[name]


def find(kind: Kind, model_dir: str, option: str = "model_dir") -> dict[str, Path]:
    """Field -> file. Raises `bad_option` where no folder is named, `model_missing` with what the folder lacks.

    `option` is the one that names the folder.
    """
    if not model_dir:
        raise WavemillError("bad_option", f"{option}: the engine sherpa needs the folder of a model", option)
    folder = Path(model_dir)
    if not folder.is_dir():
        raise WavemillError("model_missing", f"there is no folder {model_dir}", option)
    found: dict[str, Path] = {}
    for name, patterns in {**kind.files, **kind.optional}.items():
        file = next((path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()), None)
        if file is not None:
            found[name] = file
        elif name in kind.files:
            raise WavemillError("model_missing", f"{model_dir} has no {name}: no file named {' or '.join(patterns)}", option)
    return found


def rules(kind: Kind, model_dir: str) -> list[Path]:
    return [path for name in kind.rules if (path := Path(model_dir, name)).is_file()]


def identity(name: str, operation: str, model_dir: str, option: str = "model_dir") -> str:
    """`sherpa-KIND@sha256:` and 32 digits over the names, sizes and digests of the files that are read; empty without a folder."""
    if not model_dir:
        return ""
    kind = kind_of(operation, name)
    lines = []
    for path in sorted({*find(kind, model_dir, option).values(), *rules(kind, model_dir)}):
        stat = path.stat()
        lines.append(f"{path.name} {stat.st_size} {_digest(path, stat.st_size, stat.st_mtime_ns)}\n")
    return f"sherpa-{name}@sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()[:32]}"


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    """Size and time are what a digest is remembered by: a plan asks once for each set of options."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def metadata(file: Path) -> dict[str, str]:
    """What an ONNX file says of itself; its weights are passed over. Of another file little or nothing."""
    from onnx import StringStringEntryProto

    found: dict[str, str] = {}
    with file.open("rb") as data:
        while tag := _number(data):
            field, kind = tag >> 3, tag & 7
            if kind not in (0, 2):  # an ONNX model has numbers and strings of bytes only
                break
            value = _number(data)
            if field == 14:
                entry = StringStringEntryProto.FromString(data.read(value))
                found[entry.key] = entry.value
            elif kind == 2:
                data.seek(value, 1)
    return found


def _number(data: IO[bytes]) -> int:
    """The next one as protocol buffers write it: 7 bits a byte, the lowest first. 0 at the end."""
    value = shift = 0
    while byte := data.read(1):
        value |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            break
    return value


def speaking(name: str, model_dir: str, **tuning: Any) -> Any:
    """The configuration of a model that speaks; `tuning` are further fields of its family."""
    import sherpa_onnx as sherpa

    kind = kind_of("synthesize", name)
    family = {
        "vits": sherpa.OfflineTtsVitsModelConfig,
        "matcha": sherpa.OfflineTtsMatchaModelConfig,
        "kitten": sherpa.OfflineTtsKittenModelConfig,
        "kokoro": sherpa.OfflineTtsKokoroModelConfig,
    }[kind.family]
    made = family(**{name: str(path) for name, path in find(kind, model_dir).items()})
    for name, value in tuning.items():
        if value is not None and hasattr(made, name):
            setattr(made, name, value)
    model = sherpa.OfflineTtsModelConfig(**{kind.family: made}, num_threads=1)
    return sherpa.OfflineTtsConfig(model=model, rule_fsts=",".join(map(str, rules(kind, model_dir))))


def telling_apart(model_dir: str, speakers: int = -1) -> Any:
    """The configuration of diarization by pyannote's segmentation and an embedding; as many speakers as differ when -1."""
    import sherpa_onnx as sherpa

    from transforms.diarize import SAME

    files = find(kind_of("diarize", "pyannote"), model_dir, "diarize_models")
    pyannote = sherpa.OfflineSpeakerSegmentationPyannoteModelConfig(model=str(files["segmentation"]))
    return sherpa.OfflineSpeakerDiarizationConfig(
        segmentation=sherpa.OfflineSpeakerSegmentationModelConfig(pyannote=pyannote, num_threads=1),
        embedding=sherpa.SpeakerEmbeddingExtractorConfig(model=str(files["embedding"]), num_threads=1),
        clustering=sherpa.FastClusteringConfig(num_clusters=speakers, threshold=SAME),
    )


def built(make: Any, config: Any, model_dir: str, option: str = "model_dir") -> Any:
    """`make(config)`. Raises `weights_mismatch`; of some broken models sherpa ends the process instead."""
    if not config.validate():
        raise WavemillError("weights_mismatch", f"sherpa-onnx does not take the files of {model_dir}; its log says why", option)
    try:
        return make(config)
    except Exception as error:  # onnxruntime's, through another library
        raise WavemillError("weights_mismatch", f"{model_dir}: {error}", option) from error
