"""Who spoke when: embeddings of short windows of speech, clustered, and every moment given to the nearest voice.

Average-linkage clustering of speaker embeddings over voice activity (as in Wang et al. 2018, "Speaker diarization with
LSTM"), then each tenth of a second is scored against the clusters' centroids by all windows that cover it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from transforms.records import Audio
from transforms.speakers import HOP, RATE_HZ, WINDOW, SpeakerEncoder
from transforms.vad import Span

STEP = 75
"""Frames of 10 ms from one window to the next."""
APART = 0.33
"""Cosine distance, on average over all pairs of windows, from which two clusters are two speakers."""
FEWEST_S = 1.5
"""A cluster that holds less speech than this is no speaker but a bad window."""
SAME = 0.5
"""Cosine distance from which speakers of two pieces, told apart by sherpa-onnx, are two: its own for clusters of one piece."""
AT_ONCE = 2000
"""Windows clustered together; of more, clusters of clusters are made, for the distances grow with the square."""
TICK_S = 0.1
EDGE_S, PAUSE_S = 0.1, 0.3


class Window(NamedTuple):
    """A look at a voice: seconds from the start of the audio, and its embedding."""

    start: float
    end: float
    embedding: np.ndarray


class Turn(NamedTuple):
    """Somebody's speech without a break by another; `speaker` counts from 0 in the order in which they are first heard."""

    start: float
    end: float
    speaker: int


def listen(encoder: SpeakerEncoder, audio: Audio, spans: Sequence[Span]) -> list[Window]:
    """Windows over the speech of mono audio at 16 kHz; `spans` are frames of samples."""
    found: list[Window] = []
    length = WINDOW * HOP
    for start, end in spans:
        low, high = start, end
        if end - start < length:  # too short to know a voice by: what stands around it may be silence
            low = max(0, (start + end - length) // 2)
            high = min(audio.frames, low + length)
        looks = encoder.embed_windows(Audio(np.asarray(audio.samples[:1, low:high]), RATE_HZ), STEP)
        for index, embedding in enumerate(looks):
            at = low + index * STEP * HOP
            until = end if index + 1 == len(looks) else min(at + length, end)
            found.append(Window(max(at, start) / RATE_HZ, max(until, at + 1) / RATE_HZ, embedding))
    return found


def turns(windows: Sequence[Window], spans_s: Sequence[tuple[float, float]], speakers: int | None = None) -> list[Turn]:
    """Who spoke in each span of speech (seconds); as many speakers as are asked for, else as many as differ."""
    if not windows or not spans_s:
        return []
    looks = np.stack([window.embedding for window in windows]).astype(np.float64)
    spans_s = _widened(spans_s)
    labels = _cluster(looks, np.ones(len(looks)), speakers)
    if speakers is None:
        labels = _without_strays(looks, labels)
    centres = _centres(looks, labels)
    return _in_order_of_appearance(_spoken(windows, looks @ centres.T, spans_s))


def joined(pieces: Sequence[tuple[Sequence[Turn], Sequence[np.ndarray]]], speakers: int | None = None) -> list[Turn]:
    """Turns of pieces that counted their speakers each for itself, by speakers of the whole.

    A piece is its turns and the voices of its speakers 0, 1, ...: embeddings by one model. Who was told apart in a piece stays so
    unless fewer `speakers` are asked for; the turns of a single piece are taken as they are.
    """
    voices = [voice for _, own in pieces for voice in own]
    owners = np.array([index for index, (_, own) in enumerate(pieces) for _ in own])
    labels = _matched(np.stack(voices), owners, speakers) if len(set(owners)) > 1 else np.arange(len(voices))
    firsts = np.cumsum([0, *(len(own) for _, own in pieces)])
    told = (
        turn._replace(speaker=int(labels[first + turn.speaker])) for first, (own, _) in zip(firsts, pieces, strict=False) for turn in own
    )
    return _in_order_of_appearance(iter(sorted(told)))


def _matched(voices: np.ndarray, owners: np.ndarray, speakers: int | None) -> np.ndarray:
    """A label for each voice; by complete linkage, as sherpa-onnx clusters, with voices of one piece further apart than any others."""
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    voices = voices / np.maximum(np.linalg.norm(voices, axis=1, keepdims=True), 1e-9)
    apart = np.maximum(1 - voices @ voices.T, 0) + 2.0 * (owners[:, None] == owners)
    tree = linkage(squareform(apart, checks=False), "complete")
    return np.asarray(fcluster(tree, SAME, "distance") if speakers is None else fcluster(tree, speakers, "maxclust"))


def _widened(spans_s: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Voice activity as turns of speech: with the soft edges of words, and without the short pauses between them."""
    wide: list[tuple[float, float]] = []
    for start, end in spans_s:
        start, end = max(0.0, start - EDGE_S), end + EDGE_S
        if wide and start - wide[-1][1] < PAUSE_S:
            wide[-1] = (wide[-1][0], end)
        else:
            wide.append((start, end))
    return wide


def _cluster(looks: np.ndarray, weights: np.ndarray, speakers: int | None) -> np.ndarray:
    """A label for each look."""
    if len(looks) == 1:
        return np.zeros(1, int)
    if len(looks) > AT_ONCE:
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(looks), AT_ONCE)]
        first = np.zeros(len(looks), int)
        for part in parts:
            first[part] = _cluster(looks[part], weights[part], None) + first.max() + 1
        first -= first.min()
        _, first = np.unique(first, return_inverse=True)
        counts = np.bincount(first, weights)
        return _cluster(_centres(looks, first), counts, speakers)[first]
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(looks, "average", "cosine")
    found = fcluster(tree, APART, "distance") if speakers is None else fcluster(tree, speakers, "maxclust")
    return np.asarray(found) - 1


def _without_strays(looks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Clusters too small for a speaker are joined to the nearest that is not."""
    seconds = np.bincount(labels) * STEP / 100
    kept = np.flatnonzero(seconds >= min(FEWEST_S, seconds.max()))
    centres = _centres(looks, labels)
    nearest = kept[np.argmax(looks @ centres[kept].T, axis=1)]
    return np.unique(np.where(np.isin(labels, kept), labels, nearest), return_inverse=True)[1]


def _centres(looks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    sums = np.zeros((labels.max() + 1, looks.shape[1]))
    np.add.at(sums, labels, looks)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9))


def _spoken(windows: Sequence[Window], scores: np.ndarray, spans_s: Sequence[tuple[float, float]]) -> Iterator[Turn]:
    starts = np.array([window.start for window in windows])
    ends = np.array([window.end for window in windows])
    for start, end in spans_s:
        near = np.flatnonzero((starts < end) & (ends > start))
        if not len(near):
            near = np.array([int(np.argmin(np.abs((starts + ends) / 2 - (start + end) / 2)))])
        middles = np.arange(start, end, TICK_S) + TICK_S / 2
        covers = (starts[near] <= middles[:, None]) & (middles[:, None] < ends[near])
        covers[~covers.any(axis=1)] = True
        voices = np.argmax(covers @ scores[near], axis=1)
        at = start
        for voice, ticks in groupby(voices):
            until = min(end, at + len(list(ticks)) * TICK_S)
            yield Turn(at, until, int(voice))
            at = until


def _in_order_of_appearance(spoken: Iterator[Turn]) -> list[Turn]:
    order: dict[int, int] = {}
    found: list[Turn] = []
    for turn in spoken:
        turn = turn._replace(speaker=order.setdefault(turn.speaker, len(order)))
        if found and found[-1].speaker == turn.speaker and turn.start - found[-1].end < TICK_S / 2:
            found[-1] = found[-1]._replace(end=max(found[-1].end, turn.end))
        else:
            found.append(turn)
    return found


def name(speaker: int) -> str:
    return f"SPEAKER_{speaker:02}"


def label(segments: Sequence[dict[str, Any]], told: Sequence[Turn]) -> list[dict[str, Any]]:
    """Segments with a `speaker` each, cut where another begins; a word is who speaks most of it, else the nearest turn's."""
    from transforms.segments import join_texts

    labelled: list[dict[str, Any]] = []
    for segment in segments:
        words = segment.get("words") or ()
        if not words:
            labelled.append({**segment, "speaker": name(_speaker(segment["start"], segment["end"], told))})
            continue
        for speaker, group in groupby(words, key=lambda word: _speaker(word["start"], word["end"], told)):
            said = list(group)
            text = join_texts((word["word"] for word in said), "")
            labelled.append({"start": said[0]["start"], "end": said[-1]["end"], "text": text, "words": said, "speaker": name(speaker)})
    return labelled


def _speaker(start: float, end: float, told: Sequence[Turn]) -> int:
    def closeness(turn: Turn) -> tuple[float, float]:
        shared = min(end, turn.end) - max(start, turn.start)
        return max(shared, 0.0), -abs((turn.start + turn.end - start - end) / 2)

    return max(told, key=closeness).speaker
