"""Speech in noise with a known truth, and how near to the truth an engine comes: for the tests of the enhance engines."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import soxr
from scipy.signal import correlate

from transforms.engine import Engine, Place, engine_class
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

TEXTS = ("The keeper of the light had not spoken for eleven days.", "Nobody asked him why the lamp was dark that night.")


def loaded(cls: type[Engine]) -> Engine:
    settings, made = Settings(), cls()
    for model in made.models(cls.Options()):
        pull(model, settings)
    made.load(Place("cpu", 1, settings.models_dir))
    return made


@cache
def speech(rate_hz: int) -> np.ndarray:
    """The texts spoken by Piper, of shape (frames,)."""
    piper = loaded(engine_class("synthesize", "piper"))
    spoken = piper.run([Piece({"text": text}, piper.Options(), seed) for seed, text in enumerate(TEXTS)])
    audios = [outcome.outputs["audio"] for outcome in spoken if isinstance(outcome, Result)]
    whole = np.concatenate([audio.samples[0] for audio in audios])
    return soxr.resample(whole, audios[0].rate_hz, rate_hz).astype(np.float32)


def noisy(clean: np.ndarray, snr_db: float = 5.0, seed: int = 0) -> np.ndarray:
    """White noise added."""
    noise = np.random.default_rng(seed).standard_normal(len(clean))
    return (clean + noise * np.sqrt(np.square(clean).mean() / np.square(noise).mean() / 10 ** (snr_db / 10))).astype(np.float32)


def enhance(engine: Engine, samples: np.ndarray, **options: Any) -> np.ndarray:
    """Samples (channels, frames) at the engine's rate through one piece."""
    (outcome,) = engine.run([Piece({"audio": Audio(samples, engine.rate_hz)}, engine.Options.parse(options), 0)])
    assert isinstance(outcome, Result)
    audio = outcome.outputs["audio"]
    assert audio.samples.shape == samples.shape
    return np.asarray(audio.samples)


def si_sdr_db(truth: np.ndarray, heard: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019)."""
    truth, heard = truth - truth.mean(), heard - heard.mean()
    target = truth * (heard @ truth) / (truth @ truth)
    return float(10 * np.log10(np.square(target).sum() / np.square(heard - target).sum()))


def lag(truth: np.ndarray, heard: np.ndarray) -> int:
    """Frames by which `heard` is later."""
    return int(correlate(heard, truth, method="fft").argmax()) - len(truth) + 1
