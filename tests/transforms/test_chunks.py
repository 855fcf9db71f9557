"""Audio in pieces: what is cut and joined again is what it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from transforms import chunks, convert
from transforms.engines.pyav import PyAV
from transforms.errors import WavemillError
from transforms.records import Audio, Input, Item, Result

RATE_HZ = 8000
ITEM = Item("0" * 64, "a", "convert", "pyav", convert.Options(), {"audio": Input("uri", "a.wav")})


def engine_of(most_s: float, reach_s: float) -> Any:
    class Chunked(PyAV):
        max_s = most_s
        overlap_s = reach_s

    return Chunked()


def noise(frames: int, channels: int = 1) -> Audio:
    drawn = np.random.default_rng(frames).uniform(-1, 1, (channels, frames))
    return Audio(drawn.astype(np.float32), RATE_HZ)


@given(st.integers(1, 40_000), st.sampled_from([(0.0, 0.0), (1.0, 0.0), (1.0, 0.02), (0.5, 0.25), (1.0, 0.3)]), st.integers(1, 3))
def test_pieces_that_nothing_was_done_to_join_to_what_was_cut(frames: int, sizes: tuple[float, float], channels: int) -> None:
    engine, audio = engine_of(*sizes), noise(frames, channels)
    pieces = chunks.split(ITEM, {"audio": audio}, engine)
    for piece in pieces:
        assert isinstance(piece.inputs["audio"], Audio)
        assert 0 < piece.inputs["audio"].frames <= (round(sizes[0] * RATE_HZ) or frames)
    joined = chunks.join(ITEM, pieces, engine.run(pieces), engine).outputs["audio"]
    assert joined.rate_hz == RATE_HZ
    np.testing.assert_allclose(joined.samples, audio.samples, atol=1e-6)


def test_where_two_pieces_differ_one_fades_into_the_other_without_a_step() -> None:
    engine, audio = engine_of(1.0, 0.3), Audio(np.zeros((1, 2 * RATE_HZ), np.float32), RATE_HZ)
    pieces = chunks.split(ITEM, {"audio": audio}, engine)
    made = [Result(outputs={"audio": Audio(np.full_like(p.inputs["audio"].samples, n), RATE_HZ)}) for n, p in enumerate(pieces)]  # type: ignore[union-attr]
    joined = chunks.join(ITEM, pieces, made, engine).outputs["audio"].samples[0]
    assert (joined[0], joined[-1]) == (0, len(pieces) - 1)
    assert np.abs(np.diff(joined)).max() < 2 / (chunks.FADE_S * RATE_HZ)


@pytest.mark.parametrize("most_s", [0.0, 0.5])
def test_cloned_speech_stays_tagged_whether_it_is_cut_or_not(most_s: float) -> None:
    for tag in ("cloned", ""):
        engine, audio = engine_of(most_s, 0.1), replace(noise(RATE_HZ), provenance=tag)
        pieces = chunks.split(ITEM, {"audio": audio}, engine)
        assert chunks.join(ITEM, pieces, engine.run(pieces), engine).fields == ({"provenance": tag} if tag else {})


def test_a_piece_that_came_out_shorter_fails_the_item() -> None:
    engine = engine_of(1.0, 0.1)
    pieces = chunks.split(ITEM, {"audio": noise(2 * RATE_HZ)}, engine)
    made = engine.run(pieces)
    made[1] = Result(outputs={"audio": noise(100)})
    with pytest.raises(WavemillError, match="piece 2") as caught:
        chunks.join(ITEM, pieces, made, engine)
    assert caught.value.code == "engine_error"


def test_audio_without_a_sample_is_refused() -> None:
    with pytest.raises(WavemillError) as caught:
        chunks.split(ITEM, {"audio": noise(0)}, engine_of(1.0, 0.0))
    assert caught.value.code == "audio_empty"
