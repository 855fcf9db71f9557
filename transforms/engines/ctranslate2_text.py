"""CTranslate2 models that the user has in a folder, with their SentencePiece models: OPUS-MT, NLLB, Argos.

Which of them a folder holds shows in the names of its files; nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from transforms import sentences, translate_text
from transforms.engine import Engine, Place
from transforms.engines.ctranslate2_place import device_of
from transforms.errors import WavemillError
from transforms.languages import iso3
from transforms.options import Options as BaseOptions
from transforms.records import Item, Outcome, Piece, Result
from transforms.text import base

END = "</s>"
MAX_SENTENCE_CHARS = 400
"""A longer sentence is cut: these models saw none and drop what they cannot hold."""
SPELLINGS = (("source.spm", "target.spm"), ("sentencepiece.bpe.model",) * 2, ("sentencepiece.model",) * 2)
"""SentencePiece models of OPUS-MT, of NLLB and of Argos, for source and target."""
_NLLB = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}")


class CTranslate2Options(translate_text.Options):
    model_dir: str = Field("", description="folder of a CTranslate2 translation model with its SentencePiece model")
    beam_size: int = Field(2, ge=1, le=16, description="translations followed at once; 1 is fastest")


class Files(NamedTuple):
    """A model's files: those of SentencePiece stand beside the model or, with Argos, above it."""

    folder: Path
    source: Path
    target: Path


class _Model(NamedTuple):
    translator: Any
    source: Any
    target: Any
    vocabulary: frozenset[str]
    ends: bool


class CTranslate2(Engine):
    """A model goes from one language to another one; NLLB and some of OPUS-MT are told which by a token."""

    name = "ctranslate2"
    operation = "translate_text"
    version = 1
    Options = CTranslate2Options
    requires = ("ctranslate2", "sentencepiece")
    max_chars = 2000
    cost_s = 0.005

    def weights(self, options: BaseOptions) -> str:
        """The digest of the model's files, or nothing where it is not."""
        try:
            files = find(options)
        except WavemillError:
            return ""
        kept = sorted({*files.folder.glob("*.json"), *files.folder.glob("*.txt"), files.folder / "model.bin", files.source, files.target})
        return "sha256:" + _hash(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in kept))

    def check(self, item: Item) -> None:
        translate_text.check(item.options)
        find(item.options)

    def load(self, place: Place) -> None:
        try:
            import ctranslate2  # noqa: F401
            import sentencepiece  # noqa: F401
        except ImportError as error:
            raise WavemillError("engine_unloadable", str(error)) from error
        self._place, self._lock = place, threading.Lock()
        self._models: dict[Files, _Model] = {}

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        return [Result({"text": self._translate(str(piece.inputs["text"]), piece.options)}) for piece in pieces]

    def close(self) -> None:
        self._models.clear()

    def _translate(self, text: str, options: CTranslate2Options) -> str:
        model = self._open(find(options))
        language = base(options.source or "en")
        found = [part for sentence in sentences.sentences(text, language) for part, _ in sentences.cut(sentence, MAX_SENTENCE_CHARS)]
        before, prefix = _orders(model.vocabulary, options)
        given = [[*before, *model.source.encode(part, out_type=str), *([END] if model.ends else [])] for part in found]
        # one piece's sentences a call: who else is in a batch shows in the last bits
        answers = model.translator.translate_batch(
            given, target_prefix=[prefix] * len(given) if prefix else None, beam_size=options.beam_size, max_decoding_length=512
        )
        told = [model.target.decode([token for token in answer.hypotheses[0] if token not in prefix]) for answer in answers]
        return translate_text.glue(options.to).join(part.strip() for part in told if part.strip())

    def _open(self, files: Files) -> _Model:
        with self._lock:
            if files not in self._models:
                import ctranslate2
                from sentencepiece import SentencePieceProcessor

                try:
                    translator = ctranslate2.Translator(
                        str(files.folder), device=device_of(self._place), inter_threads=self._place.threads, intra_threads=1
                    )
                    source, target = (SentencePieceProcessor(model_file=str(file)) for file in files[1:])
                except (RuntimeError, ValueError, OSError) as error:
                    raise WavemillError("engine_unloadable", f"{files.folder}: {error}") from error
                ends = files.source.name != "sentencepiece.model" and not _config(files.folder).get("add_source_eos")
                self._models[files] = _Model(translator, source, target, _vocabulary(files.folder), ends)
            return self._models[files]


def find(options: BaseOptions) -> Files:
    """The files of the folder that the options name. Raises `bad_option` with what it lacks."""
    assert isinstance(options, CTranslate2Options)
    if not options.model_dir:
        raise WavemillError("bad_option", "model_dir: which folder holds the CTranslate2 model?", "model_dir")
    root = Path(options.model_dir).expanduser()
    folder = next((place for place in (root, root / "model") if (place / "model.bin").is_file()), None)
    if folder is None:
        raise WavemillError("bad_option", f"model_dir: no model.bin in {root}", "model_dir")
    for place in (folder, root):
        for source, target in SPELLINGS:
            if (place / source).is_file() and (place / target).is_file():
                return Files(folder, place / source, place / target)
    names = ", ".join(dict.fromkeys(pair[0] for pair in SPELLINGS))
    raise WavemillError("bad_option", f"model_dir: no SentencePiece model in {root}: none of {names}", "model_dir")


def _orders(vocabulary: frozenset[str], options: CTranslate2Options) -> tuple[list[str], list[str]]:
    """The tokens before the source that say which language it is or is to become, and those that begin the target.

    Raises `unsupported_language` with what there is, of a model that knows languages by name, and not this one.
    """
    names = [token for token in vocabulary if _NLLB.fullmatch(token)]
    if len(names) > 1:
        return [_named(names, options.source or "en", "source")], [_named(names, options.to, "to")]
    wanted = [f">>{code}<<" for code in (options.to, base(options.to), iso3(options.to))]
    return [token for token in wanted if token in vocabulary][:1], []


def _named(names: Sequence[str], code: str, option: str) -> str:
    fit = sorted(name for name in names if code == name or iso3(name) == iso3(code))
    if not fit:
        raise WavemillError("unsupported_language", f"the model does not know {code!r}, but {', '.join(sorted(names))}", option)
    return code if code in fit else fit[0]


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def _vocabulary(folder: Path) -> frozenset[str]:
    for name in ("shared_vocabulary", "source_vocabulary"):
        if (folder / f"{name}.json").is_file():
            return frozenset(json.loads((folder / f"{name}.json").read_text()))
        if (folder / f"{name}.txt").is_file():
            return frozenset((folder / f"{name}.txt").read_text().splitlines())
    return frozenset()


@lru_cache(maxsize=16)
def _hash(files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in files:
        with open(name, "rb") as file:
            digest.update(f"{Path(name).name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:32]
