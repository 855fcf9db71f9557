"""Speech of known rooms and echoes before and after dereverb: SI-SDR against the direct and early sound, and the echo's level.

Speech by Piper; a room is a direct path of 1 and an exponentially decaying noise of the same energy from 3 ms on (DRR 0 dB),
early is its first 50 ms; an echo is one copy, .25 s late. `unchanged` is the SI-SDR of dry speech after the operation against before.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.measure import table

SENTENCES = (
    "The lighthouse stood at the end of the road, where the land gave up and the sea began.",
    "Every evening the keeper climbed the stairs, lit the lamp, and sat down with a book.",
    "One night in winter a small boat came in out of the dark with nobody on board.",
)
RT60_S = (0.5, 0.8)
EARLY_S = 0.05
ECHO_S, ECHO_DB = 0.25, -6.0


def speak(rate_hz: int) -> np.ndarray[Any, Any]:
    """The sentences at that rate, float64 of shape (frames,), peak .3."""
    import soxr

    from transforms.engine import Place, engine_class
    from transforms.pull import pull
    from transforms.records import Piece, Result
    from transforms.settings import Settings

    settings = Settings()
    pull("piper-en_US-joe-medium", settings)
    piper = engine_class("synthesize", "piper")()
    piper.load(Place("cpu", 1, settings.models_dir))
    heard = []
    for outcome in piper.run([Piece({"text": text}, piper.Options(), 1) for text in SENTENCES]):
        assert isinstance(outcome, Result), outcome
        audio = outcome.outputs["audio"]
        heard.append(np.pad(soxr.resample(audio.samples[0], audio.rate_hz, rate_hz), (0, rate_hz // 3)))
    whole = np.concatenate(heard).astype(np.float64)
    return np.asarray(0.3 * whole / np.abs(whole).max())


def in_room(dry: np.ndarray[Any, Any], rt60_s: float, rate_hz: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The sound in the room, and its direct and early part."""
    from scipy.signal import fftconvolve

    frames = round(1.2 * rt60_s * rate_hz)
    response = np.random.default_rng(1).standard_normal(frames) * 10 ** (-3 * np.arange(frames) / rate_hz / rt60_s)
    response[: round(0.003 * rate_hz)] = 0
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1
    return fftconvolve(dry, response)[: len(dry)], fftconvolve(dry, response[: round(EARLY_S * rate_hz)])[: len(dry)]


def si_sdr_db(heard: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> float:
    part = (heard @ wanted) / (wanted @ wanted) * wanted
    return float(10 * np.log10((part @ part) / ((heard - part) @ (heard - part))))


def report() -> str:
    from transforms.engine import Place, engine_class
    from transforms.records import Audio, Piece, Result

    engine = engine_class("dereverb", "wpe")()
    engine.load(Place())
    rate_hz = engine.rate_hz
    dry = speak(rate_hz)
    rooms = [in_room(dry, rt60_s, rate_hz) for rt60_s in RT60_S]
    delay = round(ECHO_S * rate_hz)
    echo = 10 ** (ECHO_DB / 20) * np.pad(dry, (delay, 0))[: len(dry)]

    def act(samples: np.ndarray[Any, Any], intensity: int) -> np.ndarray[Any, Any]:
        audio = Audio(samples[None].astype(np.float32), rate_hz)
        (outcome,) = engine.run([Piece({"audio": audio}, engine.Options.parse({"intensity": intensity}), 0)])
        assert isinstance(outcome, Result), outcome
        return np.asarray(outcome.outputs["audio"].samples[0], np.float64)

    rows: list[list[str]] = [["none", *(f"{si_sdr_db(*one):.1f}" for one in rooms), "0.0", "-", "-"]]
    for intensity in range(1, 6):
        began = time.thread_time()
        gains = [f"{si_sdr_db(act(wet, intensity), wanted):.1f}" for wet, wanted in rooms]
        factor = (time.thread_time() - began) / len(rooms) / (len(dry) / rate_hz)
        left = act(dry + echo, intensity) - dry
        lower = 10 * np.log10(np.sum(echo**2) / np.sum(left**2))
        rows.append([str(intensity), *gains, f"{lower:.1f}", f"{si_sdr_db(act(dry, intensity), dry):.1f}", f"{factor:.3f}"])
    header = [*(f"SI-SDR dB, RT60 {rt60_s} s" for rt60_s in RT60_S), f"echo of {ECHO_DB:g} dB lower by dB", "unchanged dB", "CPU s / s"]
    return table(["intensity", *header], rows)


if __name__ == "__main__":
    print(report())
