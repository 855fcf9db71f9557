"""Voice and accompaniment without a model: what is known of a mix is found again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.quality_separate import Mix, make, sdr, si_sdr
from transforms.engine import Place
from transforms.engines import repet
from transforms.engines.classical import Classical
from transforms.records import Audio, Piece, Result

RATE_HZ = 44100


@pytest.fixture(scope="module")
def engine() -> Iterator[Classical]:
    made = Classical()
    made.load(Place())
    yield made
    made.close()


@pytest.fixture(scope="module", params=[2, 1], ids=["stereo", "mono"])
def parts(request: pytest.FixtureRequest) -> Mix:
    return make(request.param, seconds=20.0)


def stems_of(engine: Classical, samples: np.ndarray) -> dict[str, np.ndarray]:
    (outcome,) = engine.run([Piece({"audio": Audio(samples, RATE_HZ)}, engine.Options(), 0)])
    assert isinstance(outcome, Result)
    assert outcome.fields["method"] == ("repet-sim+centre" if len(samples) == 2 else "repet-sim")
    return {name: audio.samples for name, audio in outcome.outputs.items()}


@pytest.mark.slow
def test_both_stems_are_nearer_to_the_truth_than_the_mix_is_and_add_up_to_it(engine: Classical, parts: Mix) -> None:
    stems = stems_of(engine, parts.mix)
    np.testing.assert_allclose(stems["vocals"] + stems["instrumental"], parts.mix, atol=1e-6)
    gains = {
        (name, measure.__name__): measure(wanted, stems[name]) - measure(wanted, parts.mix)
        for name, wanted in (("vocals", parts.vocals), ("instrumental", parts.instrumental))
        for measure in (sdr, si_sdr)
    }
    assert min(gains.values()) > 3.5, gains


def test_what_is_at_one_side_alone_is_no_voice(engine: Classical) -> None:
    clicks = np.random.default_rng(3).uniform(-1, 1, 3 * RATE_HZ).astype(np.float32)
    for aside in (np.stack([clicks, 0 * clicks]), np.stack([clicks, -clicks])):
        assert np.abs(stems_of(engine, aside)["vocals"]).max() < 1e-6


def test_two_equal_channels_are_taken_apart_as_one(engine: Classical) -> None:
    one = np.random.default_rng(4).uniform(-0.5, 0.5, (1, 5 * RATE_HZ)).astype(np.float32)
    both = stems_of(engine, one.repeat(2, axis=0))["vocals"]
    np.testing.assert_allclose(both, stems_of(engine, one)["vocals"].repeat(2, axis=0), atol=1e-5)
    assert np.abs(both).max() > 0.01


def test_what_repeats_is_accompaniment_and_what_is_heard_once_is_voice() -> None:
    bars = np.tile(np.random.default_rng(5).uniform(0.5, 1, (64, 20)), 10)
    once = np.zeros_like(bars)
    once[10:20, 85:90] = 3.0
    mask = repet.repetition_mask(bars + once, 10)
    assert mask[10:20, 85:90].min() > 0.5
    assert mask[once == 0].mean() < 0.01


@pytest.mark.parametrize("frames", [1, 100, 5000, 44101])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_length_and_number_of_channels_comes_out_as_it_went_in(engine: Classical, frames: int, channels: int) -> None:
    drawn = np.random.default_rng(frames).uniform(-1, 1, (channels, frames)).astype(np.float32)
    stems = stems_of(engine, drawn)
    for stem in stems.values():
        assert (stem.shape, stem.dtype) == (drawn.shape, np.float32)
    np.testing.assert_allclose(sum(stems.values()), drawn, atol=1e-6)


def test_silence_is_silence(engine: Classical) -> None:
    for stem in stems_of(engine, np.zeros((2, RATE_HZ), np.float32)).values():
        assert not stem.any()
