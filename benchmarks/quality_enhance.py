"""What enhance gains: speech in noise at 5 dB, before and after each engine, by SI-SDR and by what Whisper hears.

The speech is Piper's, the noises white and pink; scale-invariant SDR after Le Roux et al. (2019), at the engine's rate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr

from benchmarks.measure import table, verdict
from benchmarks.words import word_errors
from transforms.engine import Engine, Place, engine_class
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

SNR_DB = 5.0
TARGET_DB = 9.0
SENTENCES = (
    "The keeper of the light had not spoken for eleven days.",
    "Nobody asked him why the lamp was dark that night.",
    "She walked along the shore and counted every boat that came home.",
    "The harbour master wrote the weather in a green book at noon.",
    "Two children carried a basket of apples up the narrow stairs.",
    "When the wind turned north, the fishermen stayed in the village.",
    "A letter from the capital arrived with the last train on Friday.",
    "He opened it slowly, read it twice, and put it in the stove.",
)


def opened(operation: str, name: str) -> tuple[Engine, Any]:
    """An engine with its weights, ready to run, and its default options."""
    settings, engine = Settings(), engine_class(operation, name)()
    options = engine.Options()
    for model in engine.models(options):
        pull(model, settings)
    engine.load(Place("cpu", 1, settings.models_dir))
    return engine, options


def made(engine: Engine, piece: Piece) -> Result:
    (outcome,) = engine.run([piece])
    assert isinstance(outcome, Result), outcome
    return outcome


def noise(colour: str, frames: int) -> np.ndarray:
    """White, or pink: its power falls as 1 / f."""
    drawn = np.random.default_rng(0).standard_normal(frames)
    if colour == "white":
        return drawn
    return np.fft.irfft(np.fft.rfft(drawn) / np.sqrt(np.maximum(1, np.arange(frames // 2 + 1))), frames)


def si_sdr_db(truth: np.ndarray, heard: np.ndarray) -> float:
    truth, heard = truth - truth.mean(), heard - heard.mean()
    target = truth * (heard @ truth) / (truth @ truth)
    return float(10 * np.log10(np.square(target).sum() / np.square(heard - target).sum()))


def report() -> str:
    speaker, voice = opened("synthesize", "piper")
    spoken = [made(speaker, Piece({"text": text}, voice, seed)).outputs["audio"] for seed, text in enumerate(SENTENCES)]
    clean, rate_hz = np.concatenate([audio.samples[0] for audio in spoken]), spoken[0].rate_hz
    listener, _ = opened("transcribe", "faster-whisper")
    language = listener.Options.parse({"language": "en"})

    def errors(samples: np.ndarray, from_hz: int) -> str:
        audio = Audio(soxr.resample(samples, from_hz, listener.rate_hz)[None].astype(np.float32), listener.rate_hz)
        heard = made(listener, Piece({"audio": audio}, language, 0)).fields["text"]
        return f"{word_errors([' '.join(SENTENCES)], [heard]):.3f}"

    gains = {}
    rows = [["-", "none", "-", "-", "-", errors(clean, rate_hz), "-"]]
    for name in ("deepfilternet", "gtcrn"):
        engine, options = opened("enhance", name)
        truth = soxr.resample(clean, rate_hz, engine.rate_hz).astype(np.float32)
        for colour in ("white", "pink"):
            added = noise(colour, len(truth))
            added *= np.sqrt(np.square(truth).mean() / np.square(added).mean() / 10 ** (SNR_DB / 10))
            given = (truth + added).astype(np.float32)
            piece = Piece({"audio": Audio(given[None], engine.rate_hz)}, options, 0)
            heard = made(engine, piece).outputs["audio"].samples[0]
            before, after = si_sdr_db(truth, given), si_sdr_db(truth, heard)
            gains[name, colour] = after - before
            wers = [errors(samples, engine.rate_hz) for samples in (given, heard)]
            rows.append([name, colour, f"{before:.2f}", f"{after:.2f}", f"{after - before:.2f}", *wers])
        engine.close()
    columns = ["SI-SDR before, dB", "after, dB", "gain, dB", "word error rate before", "after"]
    told = verdict(
        f"a gain of at least {TARGET_DB:g} dB in white noise by the default engine", gains["deepfilternet", "white"] >= TARGET_DB
    )
    return f"{table(['engine', 'noise', *columns], rows)}\n\n{told}\n"


if __name__ == "__main__":
    print(report())
