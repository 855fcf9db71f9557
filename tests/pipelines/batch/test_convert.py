"""`wavemill run convert`: format, rate, channels, bitrate and loudness of what comes out, measured by others than what made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyloudnorm
import pytest

from transforms import codec
from transforms.options import AudioOptions
from transforms.records import Audio

from .conftest import Runner

RATE_HZ, SECONDS = 44100, 6.0
FORMATS = {
    "mp3": ("mp3", "mp3"),
    "wav": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "opus"),
    "opus": ("ogg", "opus"),
    "m4a": ("mov,mp4,m4a,3gp,3g2,mj2", "aac"),
    "aac": ("aac", "aac"),
}
"""Of each format the container and the codec that FFmpeg finds in it."""

LAME_LU = 0.445
"""How much quieter LAME makes all that it is given at its usual bitrates: 0.95 is its own scale."""


def sound() -> Audio:
    """Two different channels that swell, with so little noise that no codec has any to take away."""
    t = np.arange(round(RATE_HZ * SECONDS)) / RATE_HZ
    rng = np.random.default_rng(5)
    loud = 0.25 * (1.2 + np.sin(2 * np.pi * 0.7 * t))
    left = loud * (np.sin(2 * np.pi * 330 * t) + 0.02 * rng.standard_normal(len(t)))
    right = loud * np.sin(2 * np.pi * 523 * t)
    both = np.stack([left, right])
    return Audio((0.35 * both / np.abs(both).max()).astype(np.float32), RATE_HZ)


def lufs(audio: Audio) -> float:
    return float(pyloudnorm.Meter(audio.rate_hz).integrated_loudness(audio.samples.T.astype(np.float64)))


def test_every_format_keeps_the_length_and_the_loudness_or_takes_the_one_that_is_asked_for(runner: Runner) -> None:
    source, given = runner.folder / "sound.wav", sound()
    source.write_bytes(codec.encode(given, AudioOptions(format="wav")).data)
    rows: list[dict[str, Any] | str] = [{"id": format, "audio": "sound.wav", "format": format} for format in FORMATS]
    rows += [{"id": f"{format} set", "audio": "sound.wav", "format": format, "loudness": -23} for format in FORMATS]
    rows += [
        {"id": "small", "audio": "sound.wav", "format": "mp3", "sample_rate": 22050, "channels": "mono", "bitrate": 48},
        {"id": "louder", "audio": "sound.wav", "format": "flac", "loudness": -14, "true_peak": -3},
        {"id": "gone", "audio": "gone.wav"},
        {"id": "mp4", "audio": "sound.wav", "format": "mp4"},
    ]
    runner.write(rows)
    summary = runner.command("convert", "--max-failures", "2")
    assert (summary["done"], summary["failed"]) == (16, {"input_not_found": 1, "bad_option": 1})
    found = {row["id"]: row for row in runner.manifest() if row["status"] == "done"}
    before = lufs(given)
    for id, row in found.items():
        heard = codec.decode(Path(row["uri"]), None, None, 60.0)
        assert heard.duration_s == pytest.approx(SECONDS, abs=0.06), id
        assert row["duration_s"] == pytest.approx(SECONDS, abs=0.06), id
        if id in ("small", "louder"):
            continue
        with av.open(row["uri"]) as file:
            (stream,) = file.streams
            assert (file.format.name, stream.codec_context.codec.canonical_name) == FORMATS[id.split()[0]]
            assert (stream.rate, stream.channels) == (48000 if id.startswith(("ogg", "opus")) else RATE_HZ, 2)
        wanted = -23 if id.endswith("set") else before
        assert lufs(heard) == pytest.approx(wanted - LAME_LU * id.startswith("mp3"), abs=0.15), id
        assert json.loads(row["fields"] or "{}").get("lufs") == (pytest.approx(-23, abs=0.1) if id.endswith("set") else None)
    with av.open(found["small"]["uri"]) as file:
        assert (file.streams[0].rate, file.streams[0].channels, file.bit_rate) == (22050, 1, pytest.approx(48000, rel=0.05))
    louder = codec.decode(Path(found["louder"]["uri"]), None, None, 60.0)
    assert lufs(louder) == pytest.approx(-14, abs=0.3)
    assert np.abs(louder.samples).max() <= 10 ** (-3 / 20) + 1e-3
    again = runner.command("convert", "--max-failures", "2")
    assert (again["done"], again["made"]) == (16, 0)
