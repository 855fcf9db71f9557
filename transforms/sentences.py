"""Text in pieces an engine can take: pauses that are written out, paragraphs, sentences, and cuts where one is too long."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil

MAX_PAUSE_S = 10.0
"""The longest silence that markers can make at one place."""
SHORT_BYTES = 40
"""A sentence under this many bytes of UTF-8 goes with its neighbour: engines say very short texts badly."""
WINDOW = 2000
"""Characters given to the library at once: its time grows faster than the text."""

_MARKER = re.compile(r"\[pause:[ \t]*(\d{1,9}(?:\.\d{1,9})?|\.\d{1,9})[ \t]*(ms|s)?[ \t]*\]", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_WRAPPED_CHARS = 60
_LINE_END = re.compile(r"[.!?:;…。！？।॥؟][\"'”’»)\]」』]*$")
_INNER_END = re.compile(r"[^\x00-\x7f]|[.!?][\"')\]]*\s+\S")
_CLAUSE = re.compile(r"(?:(?<=[,;:.!?)\]—–])|(?<=[,;:.!?][\"'”’]))\s+|(?<=[、，；：。！？])")
_SPACE = re.compile(r"\s+")


def spoken(text: str) -> bool:
    """Whether a text holds anything to say: a letter or a digit of any script."""
    return any(map(str.isalnum, text))


def pauses(text: str) -> Iterator[tuple[str, float | None]]:
    """The text between the markers `[pause:0.5s]`, each with the seconds of the marker after it (None after the last)."""
    if "[" not in text:
        yield text, None
        return
    start = 0
    for marker in _MARKER.finditer(text):
        seconds = float(marker[1]) / (1000 if (marker[2] or "").lower() == "ms" else 1)
        yield text[start : marker.start()], min(seconds, MAX_PAUSE_S)
        start = marker.end()
    yield text[start:], None


def paragraphs(text: str) -> list[str]:
    """Paragraphs, each on one line: parted by blank lines, and by a line's end unless the line was merely wrapped there.

    Wrapped is a line that ends without a sentence's end and either is long or goes on with a small letter.
    """
    if "\n" not in text:
        return [text] if text.strip() else []
    found: list[str] = []
    for block in _BLANK_LINES.split(text):
        open_line = ""
        for line in map(str.strip, block.split("\n")):
            wrapped = open_line and not _LINE_END.search(open_line[-8:]) and line
            if wrapped and (line[0].islower() or len(open_line) >= _WRAPPED_CHARS):
                open_line += line if ord(open_line[-1]) > 0x2E80 else f" {line}"
            else:
                found.append(open_line)
                open_line = line
        found.append(open_line)
    return [paragraph for paragraph in found if paragraph]


def sentences(text: str, language: str) -> list[str]:
    """The sentences of a paragraph, stripped, in order."""
    if not _INNER_END.search(text):
        return [text.strip()]
    from sentencex import segment

    found: list[str] = []
    start = 0
    while start < len(text):
        window = text[start : start + WINDOW]
        parts = segment(language, window)
        if sum(map(len, parts)) != len(window):
            parts = [window]
        if start + WINDOW < len(text):
            if len(parts) > 1:
                parts.pop()
            else:
                parts = [window[: window.rfind(" ") + 1] or window]
        found += parts
        start += sum(map(len, parts))
    return [part for part in map(str.strip, found) if part]


def cut(sentence: str, max_chars: int) -> list[tuple[str, bool]]:
    """A sentence in parts of at most `max_chars`, of about equal length: each with whether it ends at a clause's end."""
    parts = []
    start, end = 0, len(sentence)
    while end - start > max_chars:
        target = start + ceil((end - start) / ceil((end - start) / max_chars))
        window = sentence[start : start + max_chars + 1]
        for pattern, least in ((_CLAUSE, max_chars // 4), (_SPACE, 1)):
            places = [start + m.start() for m in pattern.finditer(window) if max(least, 1) <= m.start() <= max_chars]
            if places:
                break
        place = min(places, key=lambda at: abs(at - target), default=target)
        parts.append((sentence[start:place].strip(), bool(places) and pattern is _CLAUSE))
        start = place
        while start < end and sentence[start].isspace():
            start += 1
    parts.append((sentence[start:].strip(), True))
    return [part for part in parts if part[0]]


def pack(found: list[str], max_chars: int) -> list[str]:
    """Sentences with the very short ones joined to a neighbour, where both together stay within `max_chars`."""
    if len(found) < 2:
        return found
    packed: list[str] = []
    for sentence in found:
        if packed and _short(packed[-1]) and len(packed[-1]) + 1 + len(sentence) <= max_chars:
            packed[-1] += f" {sentence}"
        else:
            packed.append(sentence)
    if len(packed) > 1 and _short(packed[-1]) and len(packed[-2]) + 1 + len(packed[-1]) <= max_chars:
        last = packed.pop()
        packed[-1] += f" {last}"
    return packed


def _short(text: str) -> bool:
    return len(text.encode()) < SHORT_BYTES
