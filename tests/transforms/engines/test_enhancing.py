"""Every enhance engine on speech in noise with a known truth: DeepFilterNet3 at 48 kHz, GTCRN at 16 kHz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from transforms import chunks
from transforms.engine import Engine
from transforms.engines.deepfilternet import DeepFilterNet
from transforms.engines.gtcrn import GTCRN
from transforms.records import Audio, Input, Item

from . import enhancing as sound

GAIN_DB = {"deepfilternet": 9, "gtcrn": 8}


@pytest.fixture(scope="module", params=[DeepFilterNet, GTCRN], ids=lambda cls: cls.name)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    made = sound.loaded(request.param)
    yield made
    made.close()


@pytest.mark.parametrize(("options", "gain_db"), [({}, None), ({"clarity": False}, None), ({"strength": 1}, 6)])
def test_speech_in_white_noise_comes_out_cleaner_and_in_its_place(
    engine: Engine, options: dict[str, object], gain_db: float | None
) -> None:
    clean = sound.speech(engine.rate_hz)
    given = sound.noisy(clean)
    heard = sound.enhance(engine, given[None], **options)[0]
    assert sound.si_sdr_db(clean, heard) - sound.si_sdr_db(clean, given) >= (gain_db or GAIN_DB[engine.name])
    assert sound.lag(clean, heard) == 0
    assert np.std(heard) == pytest.approx(np.std(clean), rel=0.15)
    assert np.abs(heard).max() <= max(1.0, np.abs(given).max())


def test_more_strength_leaves_less_noise_where_nobody_speaks(engine: Engine) -> None:
    noise = 0.05 * np.random.default_rng(3).standard_normal((1, 3 * engine.rate_hz)).astype(np.float32)
    left = [np.std(sound.enhance(engine, noise, strength=strength)[0, engine.rate_hz :]) / np.std(noise) for strength in (1, 2, 3)]
    assert left[0] > left[1] > left[2]
    assert left[0] == pytest.approx(10 ** (-12 / 20), rel=0.3)


def test_silence_stays_silence(engine: Engine) -> None:
    assert np.abs(sound.enhance(engine, np.zeros((2, engine.rate_hz), np.float32))).max() < 1e-6


def test_channels_stay_apart(engine: Engine) -> None:
    clean = sound.speech(engine.rate_hz)[: 2 * engine.rate_hz]
    left, right = sound.noisy(clean), np.zeros_like(clean)
    heard = sound.enhance(engine, np.stack((left, right)), clarity=False)
    assert np.array_equal(heard[0], sound.enhance(engine, left[None], clarity=False)[0])
    assert np.abs(heard[1]).max() < 1e-6


@pytest.mark.parametrize("frames", [1, 255, 480, 1441])
def test_a_moment_of_audio_is_kept_in_its_length(engine: Engine, frames: int) -> None:
    assert np.isfinite(sound.enhance(engine, sound.noisy(sound.speech(engine.rate_hz)[:frames])[None])).all()


def test_pieces_join_to_what_one_piece_would_have_been(engine: Engine) -> None:
    class Short(type(engine)):  # type: ignore[misc]
        max_s = 3.0

    clean = sound.speech(engine.rate_hz)
    given = Audio(sound.noisy(clean)[None], engine.rate_hz)
    item = Item("0" * 64, "a", "enhance", engine.name, engine.Options(), {"audio": Input("uri", "a.wav")})
    short = sound.loaded(Short)
    pieces = chunks.split(item, {"audio": given}, short)
    assert len(pieces) > 2
    joined = chunks.join(item, pieces, short.run(pieces), short).outputs["audio"].samples[0]  # type: ignore[arg-type]
    assert len(joined) == len(clean)
    assert sound.si_sdr_db(clean, joined) > sound.si_sdr_db(clean, sound.enhance(engine, given.samples)[0]) - 1


def test_without_denoising_no_weights_are_asked_for(engine: Engine) -> None:
    assert engine.models(engine.Options.parse({"denoise": "false"})) == ()
    clean = sound.speech(engine.rate_hz)
    heard = sound.enhance(engine, clean[None], denoise=False)[0]
    assert sound.lag(clean, heard) == 0 and not np.array_equal(heard, clean)
