"""Audio by blocks of shape (channels, frames): cut, mixed, resampled, and gathered again without holding hours in memory."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from transforms.records import Audio

Block = np.ndarray[Any, np.dtype[Any]]
BLOCK_FRAMES = 1 << 16
MOST_FILES = 1 << 16
SPILL_BYTES = 4 << 20
"""Audio over this many bytes of float32 (44 s at 24 kHz mono) goes to disk: a unit holds many items, an item many pieces."""


def cut(samples: Block) -> Iterator[Block]:
    """Samples of shape (channels, frames) as views of at most `BLOCK_FRAMES` frames, in order; of a map, one in memory."""
    for start in range(0, samples.shape[1], BLOCK_FRAMES):
        yield samples[:, start : start + BLOCK_FRAMES]
        release(samples)


def release(samples: Block) -> None:
    """Give back the resident pages of a memory map that has been read; they come again from the file when touched."""
    pages = getattr(samples, "_mmap", None)
    if pages is not None and getattr(samples, "mode", "") == "r+":
        pages.madvise(mmap.MADV_DONTNEED)


def recut(blocks: Iterable[Block]) -> Iterator[Block]:
    """The blocks with the long ones cut, so that what a step makes of one block stays small."""
    return chain.from_iterable(map(cut, blocks))


def mix(block: Block, channels: int) -> Block:
    """The block with that many channels: to mono the mean, from mono a copy each.

    To stereo, the first two stay left and right and every further one is mixed into both at equal parts, because without
    a known layout a centre or a rear pair belongs to neither side. Any other count gets the mean in each channel.
    """
    have = block.shape[0]
    if have == channels:
        return block
    block = np.ascontiguousarray(block)  # a sum depends, in its last bit, on the order in memory
    if channels == 2 and have > 2:
        shared = block[2:].sum(axis=0)
        return np.asarray((block[:2] + shared) / np.float32(have - 1))
    mono = block if have == 1 else block.mean(axis=0, keepdims=True, dtype=np.float32)
    return mono if channels == 1 else np.repeat(mono, channels, axis=0)


def resample(blocks: Iterable[Block], from_hz: int, to_hz: int, channels: int) -> Iterator[Block]:
    """The blocks at another rate (soxr HQ), as one stream: n frames become round(n * to_hz / from_hz)."""
    if from_hz == to_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality="HQ")
    for block in blocks:
        made = stream.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32))
        if len(made):
            yield made.reshape(-1, channels).T
    made = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True)
    if len(made):
        yield made.reshape(-1, channels).T


def spill(audio: Audio, least_bytes: int = SPILL_BYTES) -> Audio:
    """The same audio, on disk when it is of more than so many bytes."""
    if isinstance(audio.samples, np.memmap) or audio.samples.nbytes <= least_bytes:
        return audio
    return gather((audio.samples,), audio.rate_hz, audio.channels, spill_bytes=0)


@cache
def _allow_files() -> None:
    """Let this process have as many files open as it may: each gathered audio on disk is one, and hours have hundreds of pieces."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def gather(blocks: Iterable[Block], rate_hz: int, channels: int, spill_dir: Path | None = None, spill_bytes: int = SPILL_BYTES) -> Audio:
    """The blocks as one Audio: in memory, or from `spill_bytes` on as a memory map over a nameless temporary file.

    The file is written, not stored to through the map, so that a full disk is an OSError and not a killed process. It
    holds interleaved frames, since their number is not known before the end; `samples` is its transposed view.
    """
    kept: list[Block] = []
    size = 0
    blocks = iter(blocks)
    for block in blocks:
        kept.append(block)
        size += block.size * 4
        if size > spill_bytes:
            break
    else:
        whole = np.concatenate(kept, axis=1, dtype=np.float32) if kept else np.zeros((channels, 0), np.float32)
        return Audio(np.ascontiguousarray(whole), rate_hz)
    _allow_files()
    with tempfile.TemporaryFile(prefix="wavemill-", dir=spill_dir) as file:
        frames = 0
        for part in (kept, blocks):
            for block in part:
                file.write(np.ascontiguousarray(block.T, dtype=np.float32).data)
                frames += block.shape[1]
            kept.clear()
        file.flush()
        return Audio(np.memmap(file, np.float32, "r+", shape=(frames, channels)).T, rate_hz)
