"""Joining an OUT: its audio in input order as one file, at one loudness."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.batch.export import manifest_rows
from transforms import storage
from transforms.errors import WavemillError
from transforms.records import Audio
from transforms.settings import Settings
from transforms.storage import Store


def audio_uris(store: Store) -> list[str]:
    """The first output of every row, in order. Raises `incomplete` when a row failed or is missing."""
    uris, bad = [], 0
    for row in manifest_rows(store, ["status", "uri"]):
        if row["status"] == "done":
            uris.append(row["uri"])
        else:
            bad += 1
    if bad:
        raise WavemillError("bad_usage", f"{bad} rows of {store.url} have no audio; `wavemill replay` them, or give --skip-failures", "out")
    return uris


def blocks(uris: list[str], pause_s: float, max_s: float) -> Iterator[Audio]:
    """Each row's audio, decoded, with a pause between two rows; at the rate and channels of the first."""
    from transforms import codec

    rate_hz, channels = 0, 0
    for index, uri in enumerate(uris):
        with storage.open_input(uri) as opened:
            audio = codec.decode(opened.file, rate_hz or None, channels or None, max_s)
        rate_hz, channels = audio.rate_hz, audio.channels
        if index and pause_s:
            yield Audio(np.zeros((channels, round(pause_s * rate_hz)), np.float32), rate_hz)
        yield audio


def target_format(target: str) -> str:
    suffix = Path(target).suffix.lower().lstrip(".")
    if suffix not in ("mp3", "wav", "flac", "ogg", "opus", "m4a", "aac"):
        raise WavemillError("bad_usage", f"{target}: the name must end in .mp3, .wav, .flac, .ogg, .opus, .m4a or .aac", "output")
    return suffix


def facts(path: Path, loudness: Any) -> dict[str, Any]:
    return {"path": str(path), "lufs": round(loudness.lufs, 2), "true_peak_dbtp": round(loudness.true_peak_dbtp, 2)}


def open_store(out: str, settings: Settings) -> Store:
    return Store(out, settings.storage_patience_s)
