"""A text in another language: how it becomes pieces that an engine can take, and how their translations stand where those stood."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, Field

from transforms import sentences
from transforms.engine import Engine
from transforms.errors import WavemillError
from transforms.identity import seed
from transforms.options import Options as BaseOptions
from transforms.records import Audio, Encoded, Item, Piece, Result
from transforms.segments import glue_of
from transforms.text import base, clean

VERSION = 1

_BLANK_LINES = re.compile(r"(\s*\n[^\S\n]*\n\s*)")


class Options(BaseOptions):
    """Options of every translate_text engine."""

    to: str = Field("", description="language code to translate into (es, fr, pt-BR)")
    source: Annotated[str | None, BeforeValidator(lambda value: None if value in ("", "auto") else value)] = Field(
        None, description="language code of the text; where an engine must know and it is unset, en"
    )


class Part(NamedTuple):
    """A part of a text to translate, and what stands between it and the next one."""

    text: str
    after: str


def check(options: BaseOptions) -> Options:
    """The options, when they say what to translate into. Raises `bad_option`."""
    assert isinstance(options, Options)
    if not options.to.strip():
        raise WavemillError("bad_option", "to: into which language? Give its code, such as es", "to")
    return options


def glue(language: str) -> str:
    """What stands between two sentences of a language that is written `zh-TW` or `zho_Hans` too."""
    return glue_of({"zho": "zh", "jpn": "ja", "tha": "th"}.get(base(language), base(language)))


def split(item: Item, inputs: Mapping[str, str | Audio], engine: Engine) -> list[Piece]:
    """A paragraph a piece, or as many of its sentences as `engine.max_chars` lets in. Raises `empty_text`.

    Each piece also holds `after`, what stood between it and the next one, and the first one `before`.
    """
    options = check(item.options)
    before, found = parts(clean(str(inputs["text"])), options.source or "en", engine.max_chars)
    if not found:
        raise WavemillError("empty_text", "there are no words in the text", "text")
    return [
        Piece({"text": part.text, "before": "" if n else before, "after": part.after}, options, seed(item.key, n))
        for n, part in enumerate(found)
    ]


def parts(text: str, language: str, max_chars: int) -> tuple[str, list[Part]]:
    """What stands before the first part, and the parts. Of what is no words, such as a line of dashes, nothing is translated."""
    bare = text.strip()
    found = [Part("", text[: text.find(bare)])]
    for block, blank in _blocks(bare):
        for line in sentences.paragraphs(block):
            if sentences.spoken(line):
                found += packed(line, language, max_chars)
            else:
                found[-1] = Part(found[-1].text, found[-1].after + line)
            found[-1] = Part(found[-1].text, found[-1].after + "\n")
        found[-1] = Part(found[-1].text, found[-1].after.removesuffix("\n") + blank)
    found[-1] = Part(found[-1].text, found[-1].after + text[len(text.rstrip()) :])
    return found.pop(0).after, found


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """The text between blank lines, each with the blank lines after it."""
    pieces = _BLANK_LINES.split(text)
    return zip(pieces[::2], [*pieces[1::2], ""], strict=True)


def packed(line: str, language: str, max_chars: int) -> list[Part]:
    """A paragraph in as few parts as `max_chars` (0 is no limit) allows, cut between sentences where that is possible."""
    limit = max_chars or len(line)
    if len(line) <= limit:
        return [Part(line, "")]
    starts, end = [0], 0
    for sentence in sentences.sentences(line, base(language)):
        for part, _ in sentences.cut(sentence, limit):
            start = line.index(part, end)
            end = start + len(part)
            if end - starts[-1] > limit and start > starts[-1]:
                starts.append(start)
    cuts = [line[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]
    return [Part(cut.strip(), cut[len(cut.rstrip()) :]) for cut in cuts]


def join(item: Item, pieces: Sequence[Piece], results: Sequence[Result], engine: Engine) -> Result:
    """The translations with what stood between the pieces; single spaces are as the language they now part has them."""
    options = check(item.options)
    told = [str(pieces[0].inputs["before"])]
    for piece, result in zip(pieces, results, strict=True):
        told += [str(result.fields["text"]).strip(), _between(piece, options.to)]
    told[-1] = str(pieces[-1].inputs["after"])
    text = "".join(told)
    source = options.source or results[0].fields.get("source")
    fields = {"text": text, "language": options.to, "source": source}
    data = text.encode()
    return Result(fields, {"translation": Encoded(data, "txt", hashlib.sha256(data).hexdigest())})


def _between(piece: Piece, to: str) -> str:
    """What stands after a piece's translation: a language without spaces gets none, one with them gets them from it."""
    after = str(piece.inputs["after"])
    unspaced = not after and ord(str(piece.inputs["text"])[-1]) > 0x2E80
    return glue(to) if unspaced or after == " " else after
