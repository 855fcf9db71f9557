"""RIFF/WAVE by hand: plain PCM is the one format where a library's set-up costs a hundred times the work itself."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from transforms.blocks import BLOCK_FRAMES, Block

_UNKNOWN_BYTES = 0x7FFF0000
"""Writers that cannot seek back leave a size of about 2 or 4 GiB (sox, ffmpeg, speech services)."""
_SLACK_BYTES = 64
"""Some writers count their own header as data."""
_MOST_NOTES_BYTES = 4096
_PLAIN = {(1, 16): ("<i2", 1 / 32768), (1, 32): ("<i4", 1 / 2147483648), (3, 32): ("<f4", 1.0)}


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What a header says, and `bytes_present` of the data it declares; `declared_bytes` is None when it does not know.

    `notes` are the texts before the data, as they stand in the file.
    """

    encoding: tuple[int, int]
    rate_hz: int
    channels: int
    align_bytes: int
    start: int
    declared_bytes: int | None
    bytes_present: int
    notes: bytes = b""

    @property
    def plain(self) -> bool:
        """Whether `read_blocks` can read it: 16 or 32-bit integers or 32-bit floats."""
        return self.encoding in _PLAIN and self.align_bytes == self.channels * self.encoding[1] // 8 > 0

    @property
    def frames(self) -> int:
        return self.bytes_present // self.align_bytes

    @property
    def truncated(self) -> bool:
        return self.declared_bytes is not None and self.bytes_present + _SLACK_BYTES < self.declared_bytes


def read_header(file: IO[bytes], size: int) -> WavHeader | None:
    """The header of a WAV file of `size` bytes, or None when it is none or lacks its format or data chunk."""
    file.seek(0)
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    riff_bytes = int.from_bytes(head[4:8], "little")
    position, form, data_64, notes = 12, None, None, b""
    while len(chunk := file.read(8)) == 8:
        name, length = chunk[:4], int.from_bytes(chunk[4:], "little")
        position += 8
        if name == b"data":
            break
        if name == b"ds64":
            data_64 = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"fmt " and length >= 16:
            form = file.read(min(length, 40))
        elif name == b"LIST" and len(notes) < _MOST_NOTES_BYTES:
            notes += file.read(min(length, _MOST_NOTES_BYTES))
        position += length + length % 2
        file.seek(position)
    else:
        return None
    if form is None or len(form) < 16:
        return None
    tag, channels, rate_hz, _, align_bytes, bits = struct.unpack("<HHIIHH", form[:16])
    if tag == 0xFFFE and len(form) >= 26:
        tag = int.from_bytes(form[24:26], "little")
    present = max(0, size - position)
    declared: int | None = data_64 if data_64 is not None and length == 0xFFFFFFFF else length
    streamed = declared == 0 and (riff_bytes == 0 or riff_bytes >= _UNKNOWN_BYTES)
    if streamed or (data_64 is None and length >= _UNKNOWN_BYTES and present < length):
        declared = None
    return WavHeader(
        encoding=(tag, bits),
        rate_hz=rate_hz,
        channels=channels,
        align_bytes=align_bytes,
        start=position,
        declared_bytes=declared,
        bytes_present=present if declared is None else min(declared, present),
        notes=notes,
    )


def read_blocks(file: IO[bytes], header: WavHeader) -> Iterator[Block]:
    """The samples of a plain file as float32 blocks."""
    kind, scale = _PLAIN[header.encoding]
    file.seek(header.start)
    left = header.frames
    while left > 0:
        data = file.read(min(left, BLOCK_FRAMES) * header.align_bytes)
        frames = len(data) // header.align_bytes
        if not frames:
            return
        left -= frames
        values = np.frombuffer(data, kind, frames * header.channels).reshape(frames, header.channels).T
        with np.errstate(invalid="ignore"):  # a float file may hold signalling NaNs, which are the decoder's to clear
            samples = np.multiply(values, np.float32(scale), dtype=np.float32, casting="same_kind")
        yield samples


def make_header(frames: int, rate_hz: int, channels: int) -> bytes:
    """The 44 bytes before 16-bit samples."""
    size = frames * channels * 2
    sizes = (1, channels, rate_hz, rate_hz * channels * 2, channels * 2, 16)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", size + 36, b"WAVE", b"fmt ", 16, *sizes, b"data", size)


def to_int16(block: Block) -> Block:
    """Float samples as interleaved 16-bit integers, rounded and clipped; the inverse of how they are read."""
    scaled = np.multiply(block.T, np.float32(32768), order="C")
    np.rint(scaled, out=scaled)
    np.minimum(scaled, np.float32(32767), out=scaled)
    np.maximum(scaled, np.float32(-32768), out=scaled)
    return scaled.astype("<i2")
