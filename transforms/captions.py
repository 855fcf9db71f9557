"""Transcripts as captions and tables: srt, vtt, tsv, txt and json."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

WIDTH, LINES = 42, 2
"""Columns of a caption's line, and lines of a caption; a wide (East Asian) letter takes two columns."""
_TOKEN = re.compile(r"\s*\S+")
_WIDE_TOKEN = re.compile(r"\s*\S[、。，．！？：；」』）]*")


class Token(NamedTuple):
    """A word with the space before it, and its times in seconds."""

    text: str
    start: float
    end: float


class Cue(NamedTuple):
    """What stands on the screen from `start_ms` to `end_ms`: lines parted by a newline."""

    start_ms: int
    end_ms: int
    text: str


def write(transcript: Mapping[str, Any], format: str) -> str:
    """A transcript `{text, language, duration, segments}` as a text of that format; `words` in segments make cuts exact."""
    return _WRITERS[format](transcript)


def make_cues(segments: Sequence[Mapping[str, Any]]) -> list[Cue]:
    """Captions in order that never overlap, each at most `LINES` lines of `WIDTH` columns."""
    cues: list[Cue] = []
    for segment in segments:
        lines = _wrap(_tokens(segment))
        for first in range(0, len(lines), LINES):
            shown = lines[first : first + LINES]
            start_ms = max(round(shown[0][0].start * 1000), cues[-1].end_ms if cues else 0)
            end_ms = max(round(shown[-1][-1].end * 1000), start_ms + 1)
            cues.append(Cue(start_ms, end_ms, "\n".join(_text(line) for line in shown)))
    return cues


def _tokens(segment: Mapping[str, Any]) -> list[Token]:
    """The segment's words, or, where it has none, its text with times in proportion to its letters."""
    words = segment.get("words") or ()
    texts, said = [word["word"] for word in words], _said(segment)
    if texts and said != segment["text"]:
        texts[0] = f"{segment['speaker']}: {texts[0].lstrip()}"
    if " ".join("".join(texts).split()) != said:
        texts = _TOKEN.findall(said)
    if len(texts) != len(words):
        tokens = _spread(said, segment["start"], segment["end"])
    else:
        tokens = [Token(text, word["start"], word["end"]) for text, word in zip(texts, words, strict=True)]
    return [part for token in tokens if token.text.strip() for part in _chopped(token)]


def _said(segment: Mapping[str, Any]) -> str:
    """A segment's text, after its speaker where one is known."""
    text: str = segment["text"]
    return f"{segment['speaker']}: {text}" if "speaker" in segment else text


def _spread(text: str, start: float, end: float) -> list[Token]:
    pattern = _WIDE_TOKEN if _columns(text) > len(text) else _TOKEN
    return _timed(pattern.findall(text), start, end)


def _chopped(token: Token) -> list[Token]:
    """A word too wide for a line, in parts that are not."""
    if _columns(token.text.strip()) <= WIDTH:
        return [token]
    text, step = token.text.strip(), WIDTH // 2
    return _timed([text[at : at + step] for at in range(0, len(text), step)], token.start, token.end)


def _timed(texts: Sequence[str], start: float, end: float) -> list[Token]:
    step = (end - start) / max(1, sum(map(len, texts)))
    ends = list(accumulate((len(text) * step for text in texts), initial=start))
    return [Token(text, a, b) for text, (a, b) in zip(texts, pairwise(ends), strict=True)]


def _wrap(tokens: Sequence[Token]) -> list[list[Token]]:
    """Tokens as the fewest lines, and those as even as can be."""
    fewest = _fill(tokens, WIDTH)
    if len(fewest) > 1:
        even = -(-_columns(_text(tokens)) // len(fewest))
        for width in range(even, WIDTH):
            lines = _fill(tokens, width)
            if len(lines) == len(fewest) and all(_columns(_text(line)) <= WIDTH for line in lines):
                return lines
    return fewest


def _fill(tokens: Sequence[Token], width: int) -> list[list[Token]]:
    lines: list[list[Token]] = []
    room = 0
    for token in tokens:
        columns = _columns(token.text)
        if lines and columns <= room:
            lines[-1].append(token)
            room -= columns
        else:
            lines.append([token])
            room = width - _columns(token.text.strip())
    return lines


def _text(tokens: Sequence[Token]) -> str:
    return " ".join("".join(token.text for token in tokens).split())


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def _clock(ms: int, comma: str) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{comma}{ms % 1000:03}"


def _srt(transcript: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{cue.text.replace('-->', '->')}\n"
        for number, cue in enumerate(make_cues(transcript["segments"]), 1)
    )


def _vtt(transcript: Mapping[str, Any]) -> str:
    return "WEBVTT\n" + "".join(
        f"\n{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{html.escape(cue.text, quote=False)}\n"
        for cue in make_cues(transcript["segments"])
    )


def _tsv(transcript: Mapping[str, Any]) -> str:
    rows = ((round(s["start"] * 1000), round(s["end"] * 1000), _line(_said(s))) for s in transcript["segments"])
    return "start\tend\ttext\n" + "".join(f"{start}\t{end}\t{text}\n" for start, end, text in rows)


def _txt(transcript: Mapping[str, Any]) -> str:
    return "".join(f"{_line(_said(segment))}\n" for segment in transcript["segments"])


def _json(transcript: Mapping[str, Any]) -> str:
    return json.dumps(transcript, ensure_ascii=False)


def _line(text: str) -> str:
    return " ".join(text.split())


_WRITERS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "srt": _srt,
    "vtt": _vtt,
    "tsv": _tsv,
    "txt": _txt,
    "json": _json,
}
