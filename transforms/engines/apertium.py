"""Apertium, as installed on this machine: rules and dictionaries, fast and repeatable, through a third language where need be."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from transforms import translate_text
from transforms.engine import Engine, Place
from transforms.errors import WavemillError
from transforms.languages import iso3, region, same_language
from transforms.options import Options as BaseOptions
from transforms.records import Item, Outcome, Piece, Result

ENGLISH = "en"
TIMEOUT_S = 300.0
_PATHS = re.compile(r"'([^']+)'|(?<=\s)(/[^\s|']+)")
BREAK = "\n\n"
"""Apertium moves no word across a blank line."""


class Apertium(Engine):
    """Pairs of languages, each with its own data; words it does not know stay as they are."""

    name = "apertium"
    operation = "translate_text"
    version = 1
    Options = translate_text.Options
    programs = ("apertium",)
    max_chars = 2000
    max_batch = 32
    cost_s = 0.0002

    def language(self, options: BaseOptions) -> str:
        return getattr(options, "source", None) or ENGLISH

    def weights(self, options: BaseOptions) -> str:
        """The digests of the data behind the pairs that these options need; of pairs that are not here, nothing."""
        assert isinstance(options, translate_text.Options)
        try:
            return "+".join(f"{pair}@{_digest(pair)}" for pair in route(options))
        except WavemillError:
            return ""

    def check(self, item: Item) -> None:
        route(translate_text.check(item.options))

    def load(self, place: Place) -> None:
        installed()

    def run(self, pieces: Sequence[Piece]) -> list[Outcome]:
        if not pieces:
            return []
        texts = [" ".join(str(piece.inputs["text"]).split()) for piece in pieces]
        for pair in route(pieces[0].options):
            texts = _translate(pair, texts)
        return [Result({"text": text, "source": self.language(piece.options)}) for text, piece in zip(texts, pieces, strict=True)]


def installed() -> tuple[str, ...]:
    """The pairs of this machine, such as `eng-spa`. Raises `model_unavailable` when there is no Apertium or no pair."""
    program = shutil.which("apertium")
    pairs = _pairs(program, os.environ.get("APERTIUM_DATADIR", "")) if program else ()
    if not pairs:
        detail = "Apertium has no pair of languages here" if program else "Apertium is not installed"
        raise WavemillError("model_unavailable", f"{detail}; on Debian: apt-get install apertium apertium-eng-spa", "engine")
    return pairs


@lru_cache(maxsize=8)
def _pairs(program: str, data: str) -> tuple[str, ...]:
    listed = subprocess.run([program, "-l"], capture_output=True, text=True, check=False, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    return tuple(sorted(pair for pair in listed.stdout.split() if pair.count("-") == 1))


def route(options: translate_text.Options) -> tuple[str, ...]:
    """The pair, or the two pairs, that lead from one language to the other.

    Raises `model_unavailable`, `bad_option` for a text that would stay in its language, `unsupported_language` with what there is.
    """
    source, to, pairs = options.source or ENGLISH, options.to, installed()
    if same_language(source, to):
        raise WavemillError(
            "bad_option", f"source: the text is in {source} already" + ("" if options.source else "; say what it is in"), "source"
        )
    direct = _best(source, to, pairs)
    if direct:
        return (direct,)
    for middle in dict.fromkeys(("eng", "spa", *sorted(iso3(pair.partition("-")[0]) for pair in pairs))):
        first, second = _best(source, middle, pairs), _best(middle, to, pairs)
        if first and second:
            return first, second
    detail = f"no pair leads from {source} to {to}; installed are {', '.join(pairs)}"
    raise WavemillError("unsupported_language", detail, "to")


def _best(source: str, to: str, pairs: Sequence[str]) -> str | None:
    """The pair from one language to the other, of the regions that are asked for if there is one, else of none."""

    def rank(pair: str) -> tuple[int, str]:
        left, _, right = pair.partition("-")
        wrong = [
            have.lower() != want.lower() and 1 + bool(have) for have, want in ((region(left), region(source)), (region(right), region(to)))
        ]
        return sum(wrong), pair

    fit = [pair for pair in pairs if [iso3(side) for side in pair.split("-")] == [iso3(source), iso3(to)]]
    return min(fit, key=rank, default=None)


def _translate(pair: str, texts: Sequence[str]) -> list[str]:
    """Each text by one run of the program over all of them, or, where that cannot be told apart again, by a run each."""
    told = [text.strip() for text in _run(pair, BREAK.join(texts)).split(BREAK)]
    if len(told) != len(texts):
        told = [_run(pair, text).strip() for text in texts]
    return told


def _run(pair: str, text: str) -> str:
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    program = shutil.which("apertium") or "apertium"
    try:
        done = subprocess.run(
            [program, "-u", pair], input=text.encode(), capture_output=True, check=False, timeout=TIMEOUT_S, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise WavemillError("engine_error", f"apertium {pair} took longer than {TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise WavemillError("engine_error", f"apertium {pair} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return done.stdout.decode(errors="replace")


def _digest(pair: str) -> str:
    """SHA-256, shortened, over the pair's mode and the bytes of every file that it names."""
    program = shutil.which("apertium") or ""
    folders = [
        Path(folder) for folder in (os.environ.get("APERTIUM_DATADIR"), Path(program).resolve().parent.parent / "share/apertium") if folder
    ]
    mode = next((found for folder in folders if (found := folder / "modes" / f"{pair}.mode").is_file()), None)
    if mode is None:
        return "unknown"
    files = [Path(a or b) for a, b in _PATHS.findall(mode.read_text())]
    seen = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    return _hash(mode.read_text(), seen)


@lru_cache(maxsize=64)
def _hash(mode: str, files: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256(" ".join(Path(word.strip("'")).name for word in mode.split()).encode())
    for name, _, _ in files:
        digest.update(hashlib.sha256(Path(name).read_bytes()).digest())
    return digest.hexdigest()[:32]
