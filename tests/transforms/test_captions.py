"""Captions: what another program reads back is what was written, in lines a viewer can read."""

from __future__ import annotations

import html
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import av
import pytest
from hypothesis import example, given, strategies as st

from transforms import captions
from transforms.captions import Cue

LETTERS = st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))
TEXTS = st.lists(st.text(LETTERS, max_size=60), max_size=12).map(" ".join).map(lambda text: " ".join(text.split()))


@st.composite
def segment_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    segments, at = [], 0.0
    for text in draw(st.lists(TEXTS, max_size=8)):
        start = at + draw(st.floats(0, 5))
        at = start + draw(st.floats(0, 20))
        segment: dict[str, Any] = {"start": start, "end": at, "text": text}
        if draw(st.booleans()):
            words = text.split()
            step = (at - start) / max(1, len(words))
            segment["words"] = [{"word": word, "start": start + n * step, "end": start + (n + 1) * step} for n, word in enumerate(words)]
        segments.append(segment)
    return segments


def read_back(text: str, format: str) -> list[Cue]:
    """The cues that ffmpeg finds in a file."""
    with av.open(io.BytesIO(text.encode()), format=format) as file:
        packets = [packet for packet in file.demux() if packet.size]
        return [
            Cue(round(p.pts * p.time_base * 1000), round((p.pts + p.duration) * p.time_base * 1000), bytes(p).decode()) for p in packets
        ]


def columns(line: str) -> int:
    return captions._columns(line)


@given(segment_lists())
@example([{"start": 0.0, "end": 1.0, "text": "a --> b & <i>c</i> {d} \\N e"}])
@example([{"start": 3600.0, "end": 7200.5, "text": "12"}, {"start": 7200.4, "end": 7200.4, "text": "13"}])
def test_what_was_written_as_srt_and_vtt_is_read_back(segments: list[dict[str, Any]]) -> None:
    cues = captions.make_cues(segments)
    transcript = {"segments": segments}
    vtt = [cue._replace(text=html.unescape(cue.text)) for cue in read_back(captions.write(transcript, "vtt"), "webvtt")] if cues else []
    srt = read_back(captions.write(transcript, "srt"), "srt") if cues else []
    assert vtt == cues
    assert srt == [cue._replace(text=cue.text.replace("-->", "->")) for cue in cues]


@given(segment_lists())
def test_captions_never_overlap_and_fit_the_screen(segments: list[dict[str, Any]]) -> None:
    cues = captions.make_cues(segments)
    for cue in cues:
        assert cue.start_ms < cue.end_ms
        lines = cue.text.split("\n")
        assert 1 <= len(lines) <= captions.LINES
        assert all(0 < columns(line) <= captions.WIDTH for line in lines)
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(cues))
    assert "".join("".join(cue.text.split()) for cue in cues) == "".join("".join(s["text"].split()) for s in segments)


def said(*words: tuple[str, float, float]) -> dict[str, Any]:
    return {
        "start": words[0][1],
        "end": words[-1][2],
        "text": "".join(word for word, _, _ in words).strip(),
        "words": [{"word": word, "start": start, "end": end} for word, start, end in words],
    }


def test_a_long_segment_is_broken_at_the_times_of_its_words() -> None:
    words = [(f" number{n:02}", float(n), n + 0.5) for n in range(16)]
    cues = captions.make_cues([said(*words)])
    assert len(cues) == 2
    first_word = int(cues[1].text.split()[0].removeprefix("number"))
    assert (cues[0].end_ms, cues[1].start_ms) == (first_word * 1000 - 500, first_word * 1000)


def test_lines_are_even() -> None:
    (cue,) = captions.make_cues([{"start": 0.0, "end": 4.0, "text": "The quick brown fox jumps over the lazy old dog."}])
    above, below = map(len, cue.text.split("\n"))
    assert abs(above - below) <= 6


def test_wide_letters_take_two_columns_and_a_line_does_not_begin_with_a_full_stop() -> None:
    text = "これはとても長い日本語の文章です。字幕の幅を超えるので、二行に分けなければなりません。"
    lines = [line for cue in captions.make_cues([{"start": 0.0, "end": 9.0, "text": text}]) for line in cue.text.split("\n")]
    assert max(map(columns, lines)) <= captions.WIDTH
    assert not any(line[0] in "。、" for line in lines)


TWO: Sequence[dict[str, Any]] = ({"start": 0.0, "end": 1.5, "text": "One\ttwo."}, {"start": 2.0, "end": 3.25, "text": "Three."})


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("srt", "1\n00:00:00,000 --> 00:00:01,500\nOne two.\n\n2\n00:00:02,000 --> 00:00:03,250\nThree.\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nOne two.\n\n00:00:02.000 --> 00:00:03.250\nThree.\n"),
        ("tsv", "start\tend\ttext\n0\t1500\tOne two.\n2000\t3250\tThree.\n"),
        ("txt", "One two.\nThree.\n"),
    ],
)
def test_the_formats_to_the_letter(format: str, expected: str) -> None:
    assert captions.write({"segments": TWO}, format) == expected


def test_json_is_the_transcript_itself() -> None:
    transcript = {"text": "Ça va", "language": "fr", "duration": 1.0, "segments": []}
    assert json.loads(captions.write(transcript, "json")) == transcript
    assert "Ça" in captions.write(transcript, "json")
