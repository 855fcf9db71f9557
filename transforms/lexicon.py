"""A pronunciation lexicon: words, and how to say them.

A word written all in lower case is found in any case; one with a capital only as it is written, and goes first.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

FIRST_STAND_IN = 0xF0000
"""Stand-ins are of the private planes 15 and 16, which no prepared text holds (see `transforms.text.clean`)."""
MAX_ENTRIES = 100_000
_ALONE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_MARKS = "\u0300-\u036f\u0900-\u0963\u0966-\u0dff"
_TOKEN = re.compile(rf"[{_ALONE}]|(?:[^\W{_ALONE}]|[{_MARKS}])+|[^\w\s]")
"""What a word is whole by: a run of letters, a sign, or one character of a script that puts no spaces between words."""


def read_lexicon(value: Any) -> Any:
    """The mapping behind an option's value: a mapping, a JSON object, or the path of a file of `WORD<TAB>SAY` lines.

    Lines that are empty or begin with `#` are passed over. Raises ValueError.
    """
    if isinstance(value, Path) or (isinstance(value, str) and not value.lstrip().startswith("{")):
        value = _read_file(str(value)) if str(value) else {}
    elif isinstance(value, str):
        value = json.loads(value)
    if not isinstance(value, Mapping):
        return value
    if len(value) > MAX_ENTRIES:
        raise ValueError(f"{len(value)} words, more than {MAX_ENTRIES}")
    if not all(isinstance(part, str) and part.strip() for pair in value.items() for part in pair):
        raise ValueError("each word and what to say must be a text that is not empty")
    return {_tidy(word): _tidy(say) for word, say in value.items()}


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _read_file(path: str) -> dict[str, str]:
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"the lexicon {path!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the lexicon {path!r} is not UTF-8") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, say = (part.strip() for part in line.partition("\t"))
        if not word or not say:
            raise ValueError(f"line {number} of the lexicon {path!r} is not WORD<TAB>SAY")
        found[word] = say
    return found


class _Same:
    """A lexicon that is itself the key of a cache: hashing a long one for every item would cost more than using it."""

    __slots__ = ("entries",)

    def __init__(self, entries: Mapping[str, str]) -> None:
        self.entries = entries

    def __hash__(self) -> int:
        return id(self.entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.entries is self.entries


@lru_cache(maxsize=8)
def _index(lexicon: _Same) -> tuple[dict[str, list[tuple[str, int, str]]], dict[int, str]]:
    """First token in lower case -> its words, longest first, each with its number of tokens and its stand-in; and
    stand-in -> what to say."""
    index: dict[str, list[tuple[str, int, str]]] = {}
    sayings = {}
    entries = sorted(lexicon.entries.items(), key=lambda entry: (-len(entry[0]), entry[0] == entry[0].lower()))
    for n, (word, say) in enumerate(entries):
        tokens = _TOKEN.findall(word)
        index.setdefault(tokens[0].lower(), []).append((word, len(tokens), chr(FIRST_STAND_IN + n)))
        sayings[FIRST_STAND_IN + n] = say
    return index, sayings


def mask(text: str, lexicon: Mapping[str, str]) -> tuple[str, Callable[[str], str]]:
    """The text with a stand-in character for each word of the lexicon, and what puts the sayings in their place.

    So what is said is not prepared as text, nor looked up again.
    """
    if not lexicon:
        return text, str
    index, sayings = _index(_Same(lexicon))
    tokens = [found.span() for found in _TOKEN.finditer(text)]
    parts, end, n = [], 0, 0
    while n < len(tokens):
        start, stop = tokens[n]
        taken = 1
        for word, count, stand_in in index.get(text[start:stop].lower(), ()):
            if n + count > len(tokens):
                continue
            written = " ".join(text[start : tokens[n + count - 1][1]].split())
            if word in (written, written.lower()):
                parts += [text[end:start], stand_in]
                end, taken = tokens[n + count - 1][1], count
                break
        n += taken
    parts.append(text[end:])
    return "".join(parts), lambda masked: masked.translate(sayings)
