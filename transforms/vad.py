"""Where speech is, by silero's model, over blocks: hours of audio are never in memory at once."""

from __future__ import annotations

import math

import numpy as np

from transforms.records import Audio

Span = tuple[int, int]
"""First frame and the frame after the last."""

MIN_SILENCE_S = 0.16
_MODEL_RATE_HZ = 16000
_BLOCK_S, _MARGIN_S = 120, 2
_REACH_S, _MIN_CUT_SILENCE_S = 30, 0.3


def find_speech(audio: Audio, start: int = 0, end: int | None = None, max_speech_s: float = math.inf) -> list[Span]:
    """Spans of frames between `start` and `end` that hold speech, in order; silences under `MIN_SILENCE_S` do not part them.

    Speech that goes on for more than `max_speech_s` seconds is parted, at a short silence where there is one.
    """
    end = audio.frames if end is None else end
    rate_hz = audio.rate_hz
    block, margin = _BLOCK_S * rate_hz, _MARGIN_S * rate_hz
    spans: list[Span] = []
    for core in range(start, end, block):
        low, high = max(start, core - margin), min(end, core + block + margin)
        for a, b in _speech_of_block(_model_input(audio, low, high), max_speech_s):
            a = max(core, low + a * rate_hz // _MODEL_RATE_HZ)
            b = min(core + block, end, low + b * rate_hz // _MODEL_RATE_HZ)
            if a >= b:
                continue
            last = spans[-1] if spans else (-1, -1)
            crosses = 0 <= last[1] <= core and a - last[1] < MIN_SILENCE_S * rate_hz
            if crosses and b - last[0] <= max_speech_s * rate_hz:
                spans[-1] = (last[0], b)
            else:
                spans.append((a, b))
    return spans


def _model_input(audio: Audio, low: int, high: int) -> np.ndarray:
    block: np.ndarray = audio.samples[:, low:high]
    mono: np.ndarray = block[0] if len(block) == 1 else block.mean(axis=0, dtype=np.float32)
    if audio.rate_hz == _MODEL_RATE_HZ:
        return mono
    import soxr

    resampled: np.ndarray = soxr.resample(mono, audio.rate_hz, _MODEL_RATE_HZ)
    return resampled


def _speech_of_block(mono: np.ndarray, max_speech_s: float) -> list[Span]:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(min_silence_duration_ms=round(MIN_SILENCE_S * 1000), max_speech_duration_s=max_speech_s, speech_pad_ms=0)
    return [(span["start"], span["end"]) for span in get_speech_timestamps(mono, options)]


def cut_points(audio: Audio, max_s: float) -> list[int]:
    """Frames at which to cut so that nothing is longer than `max_s` seconds, in silence where there is one within reach.

    Only the half of each stretch that ends at the limit is searched, from its end, so little of the audio is read.
    """
    longest = max(1, int(max_s * audio.rate_hz))
    points: list[int] = []
    start = 0
    while audio.frames - start > longest:
        start = _cut_near(audio, start + longest // 2, start + longest)
        points.append(start)
    return points


def _cut_near(audio: Audio, low: int, limit: int) -> int:
    reach = _REACH_S * audio.rate_hz
    for high in range(limit, low, -reach):
        near = max(low, high - reach)
        edges = [near, *(edge for span in find_speech(audio, near, high) for edge in span), high]
        silences = list(zip(edges[::2], edges[1::2], strict=True))
        a, b = max(silences, key=lambda silence: silence[1] - silence[0])
        if b - a >= _MIN_CUT_SILENCE_S * audio.rate_hz:
            return (a + b) // 2
    return limit
