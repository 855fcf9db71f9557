"""Any audio file to float32 at the rate and channels that are asked for, as a stream of blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import IO

import numpy as np

from transforms import declared, demux, wav
from transforms.blocks import SPILL_BYTES, Block, gather, mix, resample
from transforms.errors import WavemillError
from transforms.provenance import found_in
from transforms.records import Audio

_RATES_HZ = (100, 1_536_000)
_MOST_CHANNELS = 64
_LOUDEST = 1000.0


def decode(
    source: bytes | Path | IO[bytes],
    rate_hz: int | None,
    channels: int | None,
    max_s: float,
    spill_dir: Path | None = None,
    spill_bytes: int = SPILL_BYTES,
) -> Audio:
    """A file, its bytes or a seekable file object as Audio; None keeps the source's rate or channels.

    Audio over `spill_bytes` is a memory map (see `blocks.gather`). Raises `audio_empty`, `bad_audio`, `audio_truncated`,
    and `audio_too_long` as soon as more than `max_s` seconds have been read.
    """
    with _opened(source) as (file, size), _reading(file, size) as (tag, read):
        parts = _limited(read, max_s)
        first = next(parts, None)
        if first is None:
            raise WavemillError("audio_empty", "the file holds no samples")
        to_hz, to_channels = rate_hz or first[1], channels or first[0].shape[0]
        audio = gather(_convert(chain((first,), parts), to_hz, to_channels), to_hz, to_channels, spill_dir, spill_bytes)
    if not audio.frames:
        raise WavemillError("audio_empty", f"the file is too short for one sample at {to_hz} Hz")
    return replace(audio, provenance=tag) if tag else audio


def probe(source: bytes | Path | IO[bytes]) -> tuple[float, int, int]:
    """(duration in seconds, rate in Hz, channels) from the headers, or from the packets where no header states the length.

    Decodes nothing, so a damaged body passes. Raises `audio_empty` and `bad_audio`, or `audio_truncated` for a cut header.
    """
    with _opened(source) as (file, size):
        header = wav.read_header(file, size)
        if header and header.plain:
            _check(header.rate_hz, header.channels)
            return header.frames / header.rate_hz, header.rate_hz, header.channels
        with demux.open_stream(file, size) as stream:
            _check(stream.codec_context.sample_rate, stream.codec_context.channels)
            return declared.duration_s(stream, file), stream.codec_context.sample_rate, stream.codec_context.channels


@contextmanager
def _opened(source: bytes | Path | IO[bytes]) -> Iterator[tuple[IO[bytes], int]]:
    """The source as a file of ours and its size: what the system then raises is the system's, what PyAV raises the file's."""
    if isinstance(source, bytes):
        file: IO[bytes] = io.BytesIO(source)
    elif isinstance(source, Path):
        file = source.open("rb")
    else:
        file = source
    try:
        size = file.seek(0, os.SEEK_END)
        if not size:
            raise WavemillError("audio_empty", "the file has no bytes")
        yield file, size
    finally:
        if file is not source:
            file.close()


def _check(rate_hz: int, channels: int) -> None:
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
        raise WavemillError("bad_audio", f"a rate of {rate_hz} Hz; from {_RATES_HZ[0]} to {_RATES_HZ[1]} can be read")
    if not 1 <= channels <= _MOST_CHANNELS:
        raise WavemillError("bad_audio", f"{channels} channels; up to {_MOST_CHANNELS} can be read")


@contextmanager
def _reading(file: IO[bytes], size: int) -> Iterator[tuple[str, Iterator[tuple[Block, int]]]]:
    """The tag of cloned speech, where the file carries it, and its samples with their rate in Hz."""
    header = wav.read_header(file, size)
    if header and header.plain:
        _check(header.rate_hz, header.channels)
        yield found_in(header.notes.decode("latin-1")), _read_wav(file, header)
        return
    with demux.open_stream(file, size) as stream:
        yield found_in(demux.notes(stream)), demux.read_blocks(stream, file, size)


def _read_wav(file: IO[bytes], header: wav.WavHeader) -> Iterator[tuple[Block, int]]:
    for block in wav.read_blocks(file, header):
        yield block, header.rate_hz
    if header.truncated and header.frames:
        raise WavemillError("audio_truncated", f"{header.bytes_present} of {header.declared_bytes} bytes of data are there")


def _limited(parts: Iterator[tuple[Block, int]], max_s: float) -> Iterator[tuple[Block, int]]:
    read_s = 0.0
    for block, rate_hz in parts:
        _check(rate_hz, block.shape[0])
        read_s += block.shape[1] / rate_hz
        if read_s > max_s + 1e-6:
            raise WavemillError("audio_too_long", f"longer than {max_s:g} s")
        yield block, rate_hz


def _convert(parts: Iterator[tuple[Block, int]], rate_hz: int, channels: int) -> Iterator[Block]:
    """Mixed, then resampled: a new stream of soxr wherever the rate changes, as in files that were joined."""
    for from_hz, same in groupby(parts, key=lambda part: part[1]):
        yield from resample((mix(_sane(block), channels) for block, _ in same), from_hz, rate_hz, channels)


def _sane(block: Block) -> Block:
    """Float files can hold NaN, infinity and 1e38, which a resampler would smear over what is sound."""
    if np.abs(block).max(initial=0.0) <= _LOUDEST:
        return block
    return np.asarray(np.clip(np.nan_to_num(block, nan=0.0), -1.0, 1.0))
