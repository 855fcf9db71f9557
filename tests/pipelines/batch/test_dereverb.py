"""dereverb through the pipeline, with its real default engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from transforms import codec
from transforms.options import AudioOptions
from transforms.records import Audio

from .conftest import Runner


@pytest.mark.slow
def test_an_echo_is_taken_out_of_a_file_of_several_pieces_and_a_bad_file_costs_itself(runner: Runner, tmp_path: Path) -> None:
    rate_hz, delay = 48000, 12000
    # a sound that comes and goes, as speech does, so that no piece is predictable
    dry = 0.1 * np.random.default_rng(1).standard_normal((2, 40 * rate_hz)).astype(np.float32)
    dry *= (np.sin(2 * np.pi * 0.7 * np.arange(dry.shape[1]) / rate_hz) > 0).astype(np.float32)
    wet = dry.copy()
    wet[:, delay:] += dry[:, :-delay] / 2
    (tmp_path / "hall.wav").write_bytes(codec.encode(Audio(wet, rate_hz), AudioOptions(format="wav")).data)
    (tmp_path / "broken.wav").write_bytes(b"not audio")
    runner.write([{"audio": str(tmp_path / "hall.wav"), "format": "wav"}, {"audio": str(tmp_path / "broken.wav")}])
    summary = runner.run(operation="dereverb", engine="wpe", options={"type": "echo", "sample_rate": rate_hz})
    good, bad = runner.manifest()
    assert (summary.done, bad["status"], bad["code"]) == (1, "failed", "bad_audio")
    assert good["status"] == "done" and good["duration_s"] == pytest.approx(40, abs=0.01)
    heard = codec.decode(Path(good["uri"]), rate_hz, None, 3600.0)
    assert heard.samples.shape[0] == 2
    left = np.asarray(heard.samples)[:, : dry.shape[1]]
    frames = min(left.shape[1], dry.shape[1])
    rest = left[:, :frames] - dry[:, :frames]
    assert 10 * np.log10(np.sum((wet - dry) ** 2) / np.sum(rest**2)) > 10
