"""Joining an OUT: its audio in input order as one file, at one loudness, in constant memory."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipelines.batch import plan as plans
from pipelines.batch.export import manifest_rows
from sinks import blobs
from transforms import storage
from transforms.errors import WavemillError
from transforms.operations import operation
from transforms.options import AudioOptions
from transforms.records import Audio
from transforms.scratch import temporary_folder
from transforms.settings import Settings
from transforms.store import Store

TRIES = 4
CLOSE_LU = 0.25
LONGEST_S = 1000 * 3600.0


@dataclass(frozen=True, slots=True)
class Joined:
    """What was written: the file, what it is made of, and what was measured in it afterwards."""

    target: str
    items: int
    duration_s: float
    lufs: float
    true_peak_dbtp: float


class _Part(NamedTuple):
    """A row's audio, and the tag that cloned speech carries."""

    uri: str
    provenance: str


def join(out: str, target: str, settings: Settings, pause_s: float, options: AudioOptions) -> Joined:
    """Every row's first output, in input order, with `pause_s` of silence between two, as the file `target` (any URL).

    With `options.loudness` the whole is brought to that loudness under `options.true_peak`; what the result row says is
    measured in the file that was written. Where a row is tagged as cloned speech the whole is. Raises `bad_usage` when a row has no audio: nothing is left out in silence.
    """
    from transforms import codec, loudness
    from transforms.blocks import cut

    parts = _parts(Store(out, settings.storage_patience_s))
    uris, comment = [part.uri for part in parts], "; ".join(dict.fromkeys(part.provenance for part in parts if part.provenance))
    max_s = settings.max_audio_h * 3600
    with temporary_folder() as folder:
        written = folder / f"joined.{options.format}"
        first = next(_decoded(uris[:1], 0.0, max_s))
        rate_hz, channels = first.rate_hz, first.channels

        def make() -> Iterator[np.ndarray]:
            return (block for audio in _decoded(uris, pause_s, max_s) for block in cut(audio.samples))

        aim_lufs, ceiling_dbtp = options.loudness, options.true_peak
        for _ in range(TRIES):
            made = make()
            if aim_lufs is not None:
                made = loudness.fit(make, rate_hz, channels, aim_lufs, ceiling_dbtp).apply(make())
            duration_s = codec.encode_to(written, made, rate_hz, channels, options, comment)
            measured = loudness.measure(codec.decode(written, None, None, LONGEST_S))
            if aim_lufs is None or options.loudness is None or measured.lufs == -math.inf:
                break
            off_lu, over_db = measured.lufs - options.loudness, measured.true_peak_dbtp - options.true_peak
            if abs(off_lu) <= CLOSE_LU and over_db <= 0:
                break
            # a lossy codec moves the level and rings over the ceiling it was given
            aim_lufs -= off_lu
            ceiling_dbtp -= max(0.0, over_db) and over_db + 0.1
        _put(written, target, settings)
    return Joined(target, len(uris), duration_s, round(measured.lufs, 2), round(measured.true_peak_dbtp, 2))


def _parts(store: Store) -> list[_Part]:
    name = plans.require_stored(store)["spec"]["operation"]
    if operation(name).output != "audio":
        raise WavemillError("bad_usage", f"{store.url} is an OUT of {name}, which makes no audio", "out")
    parts, without = [], []
    for row in manifest_rows(store, ["id", "status", "uri", "fields"]):
        if row["status"] == "done" and row["uri"]:
            parts.append(_Part(store.path(blobs.within(row["uri"])), json.loads(row["fields"] or "{}").get("provenance", "")))
        else:
            without.append(row["id"])
    if without:
        raise WavemillError(
            "bad_usage", f"{len(without)} rows of {store.url} have no audio ({', '.join(without[:5])}); `wavemill replay` them first", "out"
        )
    return parts


def _decoded(uris: list[str], pause_s: float, max_s: float) -> Iterator[Audio]:
    """Each row's audio, at the rate and channels of the first, and the pauses between."""
    from transforms import codec

    rate_hz = channels = None
    for index, uri in enumerate(uris):
        with storage.open_input(uri) as opened:
            audio = codec.decode(opened.file, rate_hz, channels, max_s)
        rate_hz, channels = audio.rate_hz, audio.channels
        if index and pause_s:
            yield Audio(np.zeros((channels, round(pause_s * rate_hz)), np.float32), rate_hz)
        yield audio


def _put(written: Path, target: str, settings: Settings) -> None:
    if storage.is_local(target):
        path = Path(storage.canonical(target))
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(written, path)
    else:
        folder, _, name = target.rpartition("/")
        Store(folder, settings.storage_patience_s).upload(written, name)
