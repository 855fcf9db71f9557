"""Who spoke when, on mixes whose truth is known: two or three voices in turns, pauses of .3 s, a little noise.

The number of speakers is not told. The voices are not among those that the threshold's examples and tests use; all are
synthetic, and real microphones were not tried. The error rate has the usual collar of .25 s, which is not counted. The target is
for all mixes together: two voices that are much alike may be taken for one, as in one of them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soxr

from benchmarks.measure import table, verdict
from benchmarks.speech import done, saved, speak
from benchmarks.spoken import SENTENCES
from transforms.records import Audio

RATE_HZ = 16000
TARGET = 0.15
TURNS = 9
MIXES = (
    ("af_nicole", "am_onyx"),
    ("bf_lily", "bm_lewis"),
    ("am_puck", "am_fenrir"),
    ("af_sky", "bf_isabella"),
    ("am_liam", "bm_daniel"),
    ("af_kore", "am_eric", "bf_alice"),
    ("bm_lewis", "am_puck", "af_sky"),
    ("am_onyx", "bm_daniel", "bf_isabella"),
    ("af_nicole", "bf_alice", "am_liam"),
    ("am_fenrir", "am_eric", "bf_lily"),
)
Spans = Sequence[tuple[float, float, int]]
"""Start and end in seconds, and the number of the speaker."""


def without_silence(audio: Audio) -> np.ndarray:
    """Mono at 16 kHz, without silence at its ends."""
    samples = soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ)
    loud = np.flatnonzero(np.abs(samples) > 0.02)
    return np.asarray(samples[loud[0] : loud[-1]])


def mixed(clips: Mapping[tuple[str, int], np.ndarray], order: Sequence[str], texts: int) -> tuple[Audio, list[tuple[float, float, int]]]:
    """The voices in turns, turn n saying text n, with pauses of .3 s and a little noise, and the truth."""
    names = list(dict.fromkeys(order))
    parts, truth, at = [], [], 0
    for index, name in enumerate(order):
        clip = clips[name, index % texts]
        parts += [clip, np.zeros(RATE_HZ * 3 // 10, np.float32)]
        truth.append((at / RATE_HZ, (at + len(clip)) / RATE_HZ, names.index(name)))
        at += len(clip) + RATE_HZ * 3 // 10
    whole = np.concatenate(parts) + np.random.default_rng(0).normal(0, 0.001, at)
    return Audio(whole.astype(np.float32)[None], RATE_HZ), truth


def error_rate(truth: Spans, told: Spans, end_s: float) -> float:
    """Diarization error rate with the usual collar of .25 s: missed, falsely told and confused time over spoken time."""
    from scipy.optimize import linear_sum_assignment

    ticks = np.arange(0, end_s, 0.01)
    said, heard = np.full(len(ticks), -1), np.full(len(ticks), -1)
    counted = np.ones(len(ticks), bool)
    for start, end, number in truth:
        said[(ticks >= start) & (ticks < end)] = number
        counted &= (np.abs(ticks - start) >= 0.25) & (np.abs(ticks - end) >= 0.25)
    for start, end, number in told:
        heard[(ticks >= start) & (ticks < end)] = number
    said, heard = said[counted], heard[counted]
    size = max(said.max(), heard.max()) + 1
    shared = np.array([[((said == a) & (heard == b)).sum() for b in range(size)] for a in range(size)])
    right = shared[linear_sum_assignment(-shared)].sum()
    return float(((said >= 0).sum() - right + ((said < 0) & (heard >= 0)).sum()) / (said >= 0).sum())


def turns(voices: Sequence[str], seed: int) -> list[str]:
    """Who speaks, turn by turn: each at least twice, in an order drawn from the seed."""
    order = np.resize(np.arange(len(voices)), TURNS)
    return [voices[number] for number in np.random.default_rng(seed).permutation(order)]


def report() -> str:
    texts = SENTENCES["en"]
    clips = {}
    for voice in sorted({voice for mix in MIXES for voice in mix}):
        for number, audio in enumerate(speak(texts, "kokoro", voice=voice)):
            clips[voice, number] = without_silence(audio)
    rows, weighted, total_s = [], 0.0, 0.0
    with tempfile.TemporaryDirectory(prefix="wavemill-bench-") as folder:
        mixes = [mixed(clips, turns(voices, seed), len(texts)) for seed, voices in enumerate(MIXES)]
        files = [saved(audio, Path(folder) / f"{n}.wav") for n, (audio, _) in enumerate(mixes)]
        results = done("transcribe", files, diarize=True, timestamps=True, language="en")
    for voices, (audio, truth), result in zip(MIXES, mixes, results, strict=True):
        segments = json.loads(result.outputs["transcript"].data)["segments"]
        told = [(s["start"], s["end"], int(s["speaker"].removeprefix("SPEAKER_"))) for s in segments]
        error = error_rate(truth, told, audio.duration_s)
        rows.append([", ".join(voices), f"{audio.duration_s:.0f}", str(len(voices)), str(result.fields["speakers"]), f"{error:.1%}"])
        weighted, total_s = weighted + error * audio.duration_s, total_s + audio.duration_s
    rows.append(["**all**", f"{total_s:.0f}", "", "", f"**{weighted / total_s:.1%}**"])
    told_of = verdict(f"a diarization error of at most {TARGET:.0%} over all", weighted / total_s <= TARGET)
    return f"{table(['voices', 'audio, s', 'speakers', 'found', 'diarization error'], rows)}\n\n{told_of}\n"


if __name__ == "__main__":
    print(report())
