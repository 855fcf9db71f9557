"""A discrete echo is found where there is one, taken out, and nowhere invented."""

from __future__ import annotations

import numpy as np
import pytest

from transforms import echo_path

RATE_HZ = 16000


def noise(seconds: float, channels: int = 1, seed: int = 1) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((channels, round(seconds * RATE_HZ)))
    return (0.1 * drawn).astype(np.float32)


def echoed(dry: np.ndarray, delay: int, gain: float) -> np.ndarray:
    wet = dry.copy()
    wet[:, delay:] += np.float32(gain) * dry[:, :-delay]
    return wet


def power_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize(("delay_s", "gain"), [(0.045, 0.5), (0.25, 0.5), (0.25, 0.2), (0.95, 0.7)])
def test_delay_and_gain_of_an_echo_are_found(delay_s: float, gain: float) -> None:
    delay = round(delay_s * RATE_HZ)
    found = echo_path.find_echo(echoed(noise(10, 2), delay, gain), RATE_HZ)
    assert found is not None
    assert found.delay == delay
    assert found.gain == pytest.approx(gain, rel=0.1)


@pytest.mark.parametrize("gain", [0.0, 0.05])
def test_without_an_echo_or_with_one_nobody_hears_none_is_found(gain: float) -> None:
    assert echo_path.find_echo(echoed(noise(10), 4000, gain), RATE_HZ) is None


@pytest.mark.parametrize(("loop_s", "times"), [(0.5, 20), (0.8, 12)])  # the second comes again only after the longest echo
def test_a_loop_is_a_beat_and_no_echo(loop_s: float, times: int) -> None:
    loop = np.tile(noise(loop_s), (1, times))
    assert echo_path.find_echo(loop, RATE_HZ) is None
    assert echo_path.find_echo(loop + 0.3 * noise(loop_s * times, seed=2), RATE_HZ) is None


def test_silence_and_a_moment_have_no_echo() -> None:
    assert echo_path.find_echo(np.zeros((1, 5 * RATE_HZ), np.float32), RATE_HZ) is None
    assert echo_path.find_echo(noise(0.05), RATE_HZ) is None
    assert echo_path.find_echo(np.zeros((1, 0), np.float32), RATE_HZ) is None


def test_the_true_echo_is_taken_out_to_rounding_and_a_part_of_it_in_part() -> None:
    dry = noise(3, 2)
    wet = echoed(dry, 4000, 0.5)
    whole = echo_path.remove_echo(wet, echo_path.Echo(4000, 0.5), 1.0)
    assert whole.dtype == np.float32 and whole.shape == dry.shape
    np.testing.assert_allclose(whole, dry, atol=1e-6)
    part = echo_path.remove_echo(wet, echo_path.Echo(4000, 0.5), 0.7)
    assert power_db(wet - dry) - power_db(part - dry) == pytest.approx(10.4, abs=0.8)


def test_removing_the_strongest_echo_again_and_again_stays_finite() -> None:
    out = echo_path.remove_echo(np.ones((1, 60 * RATE_HZ), np.float32), echo_path.Echo(640, 0.9), 1.0)
    assert np.abs(out).max() <= 1.0
