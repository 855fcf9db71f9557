"""WPE on speech in rooms that are known: drier than before, and speech that is dry already stays what it is."""

from __future__ import annotations

import time

import jiwer
import numpy as np
import pytest
import soxr
from scipy.signal import fftconvolve

from transforms import room
from transforms.engine import Engine, Place, engine_class
from transforms.engines.wpe import WPE
from transforms.pull import pull
from transforms.records import Audio, Piece, Result
from transforms.settings import Settings

RATE_HZ = WPE.rate_hz
SENTENCES = (
    "The lighthouse stood at the end of the road, where the land gave up and the sea began.",
    "Every evening the keeper climbed the stairs, lit the lamp, and sat down with a book.",
    "One night in winter a small boat came in out of the dark with nobody on board.",
)
EARLY_S = 0.05


def loaded(cls: type[Engine], *models: str) -> Engine:
    for model in models:
        pull(model, Settings())
    made = cls()
    made.load(Place("cpu", 1, Settings().models_dir))
    return made


@pytest.fixture(scope="module")
def engine() -> Engine:
    return loaded(WPE)


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Three sentences by Piper with pauses, about 14 s, float32 of shape (frames,), peak .5."""
    piper = loaded(engine_class("synthesize", "piper"), "piper-en_US-joe-medium")
    heard = []
    for outcome in piper.run([Piece({"text": text}, piper.Options(), 1) for text in SENTENCES]):
        assert isinstance(outcome, Result)
        audio = outcome.outputs["audio"]
        heard.append(np.pad(soxr.resample(audio.samples[0], audio.rate_hz, RATE_HZ), (0, RATE_HZ // 3)))
    whole = np.concatenate(heard)
    return np.asarray(0.5 * whole / np.abs(whole).max(), np.float32)


def in_room(dry: np.ndarray, rt60_s: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The dry sound in a room (direct path 1, a decaying noise as loud), and its direct and early part alone."""
    frames = round(rt60_s * 1.2 * RATE_HZ)
    response = np.random.default_rng(seed).standard_normal(frames) * 10 ** (-3 * np.arange(frames) / RATE_HZ / rt60_s)
    response[: round(0.003 * RATE_HZ)] = 0
    response /= np.sqrt(np.sum(response**2))
    response[0] = 1
    early = response[: round(EARLY_S * RATE_HZ)]
    wet, wanted = (fftconvolve(dry, one)[: len(dry)].astype(np.float32) for one in (response, early))
    scale = np.float32(0.9 / np.abs(wet).max())
    return wet * scale, wanted * scale


def si_sdr_db(heard: np.ndarray, wanted: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019)."""
    heard, wanted = heard.astype(np.float64), wanted.astype(np.float64)
    part = (heard @ wanted) / (wanted @ wanted) * wanted
    return float(10 * np.log10((part @ part) / ((heard - part) @ (heard - part))))


def dried(engine: Engine, samples: np.ndarray, **options: object) -> np.ndarray:
    audio = Audio(np.atleast_2d(samples), RATE_HZ)
    (outcome,) = engine.run([Piece({"audio": audio}, engine.Options.parse(options), 0)])
    assert isinstance(outcome, Result)
    out = outcome.outputs["audio"]
    assert out.samples.shape == audio.samples.shape and out.samples.dtype == np.float32 and out.rate_hz == RATE_HZ
    return np.asarray(out.samples if samples.ndim == 2 else out.samples[0])


@pytest.mark.slow
@pytest.mark.parametrize("rt60_s", [0.5, 0.8])
def test_reverberant_speech_comes_nearer_to_its_early_part_and_more_with_intensity(
    engine: Engine, speech: np.ndarray, rt60_s: float
) -> None:
    wet, wanted = in_room(speech, rt60_s)
    gains = [si_sdr_db(dried(engine, wet, intensity=n), wanted) - si_sdr_db(wet, wanted) for n in (1, 3, 5)]
    assert gains[0] > 0.7
    assert gains[1] > gains[0] + 0.5 and gains[1] > 2.0
    assert gains[2] > gains[1] - 0.2


@pytest.mark.slow
def test_dry_speech_is_left_nearly_as_it_was(engine: Engine, speech: np.ndarray) -> None:
    assert si_sdr_db(dried(engine, speech, intensity=3), speech) > 30
    np.testing.assert_array_equal(dried(engine, speech, type="echo", intensity=5), speech)


@pytest.mark.slow
def test_an_echo_is_at_least_10_db_lower_and_the_voice_stays(engine: Engine, speech: np.ndarray) -> None:
    delay = RATE_HZ // 4
    echo = np.pad(speech, (delay, 0))[: len(speech)] / 2
    for type in ("echo", "both"):
        left = dried(engine, speech + echo, type=type) - speech
        assert 10 * np.log10(np.sum(echo**2) / np.sum(left**2)) > 10, type


@pytest.mark.slow
def test_words_in_a_room_are_heard_no_worse_afterwards(engine: Engine, speech: np.ndarray) -> None:
    whisper = loaded(engine_class("transcribe", "faster-whisper"), "whisper-tiny.en")
    wet, _ = in_room(speech, 0.8)
    options = whisper.Options.parse({"model": "tiny.en", "beam_size": 1})

    def errors(samples: np.ndarray) -> float:
        heard = Audio(soxr.resample(samples, RATE_HZ, 16000)[None], 16000)
        (outcome,) = whisper.run([Piece({"audio": heard}, options, 0)])
        assert isinstance(outcome, Result)
        plain = [str(text).lower().replace(",", "").replace(".", "") for text in (" ".join(SENTENCES), outcome.fields["text"])]
        return float(jiwer.wer(*plain))

    assert errors(dried(engine, wet)) <= errors(wet)
    whisper.close()


def test_stereo_of_two_equal_channels_is_finite_and_stays_equal(engine: Engine, speech: np.ndarray) -> None:
    wet, wanted = in_room(speech[: 5 * RATE_HZ], 0.5)
    out = dried(engine, np.stack([wet, wet]))
    np.testing.assert_allclose(out[0], out[1], atol=1e-4)
    assert si_sdr_db(out[0], wanted) > si_sdr_db(wet, wanted) + 1.5


@pytest.mark.slow
def test_two_microphones_in_one_room_dry_more_than_one(engine: Engine, speech: np.ndarray) -> None:
    (left, wanted), (right, _) = (in_room(speech, 0.6, seed) for seed in (1, 2))
    alone, joint = dried(engine, left, type="reverb"), dried(engine, np.stack([left, right]), type="reverb")
    assert si_sdr_db(joint[0], wanted) > si_sdr_db(alone, wanted)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_silence_stays_silence_and_digital_gaps_do_no_harm(engine: Engine, speech: np.ndarray, channels: int) -> None:
    silence = np.zeros((channels, RATE_HZ), np.float32)
    np.testing.assert_array_equal(dried(engine, silence), silence)
    gaps = np.concatenate((silence, np.stack([speech[:RATE_HZ]] * channels), silence), axis=1)
    out = dried(engine, gaps, intensity=5)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1


def test_clipped_sound_comes_out_finite_and_not_over_full_scale(engine: Engine, speech: np.ndarray) -> None:
    wet, _ = in_room(speech[: 4 * RATE_HZ], 0.5)
    clipped = np.clip(20 * wet, -1, 1)
    out = dried(engine, clipped, intensity=5)
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1 + 1e-6


@pytest.mark.parametrize("frames", [1, 100, 2047, 2048, 5001])
def test_a_piece_of_any_length_keeps_it(engine: Engine, speech: np.ndarray, frames: int) -> None:
    assert dried(engine, speech[RATE_HZ : RATE_HZ + frames]).shape == (frames,)


def test_what_comes_out_is_in_time_with_what_went_in(engine: Engine) -> None:
    click = np.zeros(RATE_HZ, np.float32)
    click[12345] = 0.5
    assert np.abs(dried(engine, click)).argmax() == 12345


@pytest.mark.slow
def test_the_strongest_setting_takes_less_than_half_of_real_time_in_mono(speech: np.ndarray) -> None:
    began = time.thread_time()
    room.dry(speech[None], RATE_HZ, "both", 5)
    assert time.thread_time() - began < 0.5 * len(speech) / RATE_HZ
