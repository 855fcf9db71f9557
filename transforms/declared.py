"""What a file's header says of its length, where it can be believed: how a truncated file is known."""

from __future__ import annotations

from typing import IO, Any

import av

from transforms import wav

LOSSLESS = ("flac", "aiff", "au", "tta", "wv", "ape")
"""Formats whose stated length is exact to the sample."""
_ID3_SHIFTS = (21, 14, 7, 0)


def ends_early(file: IO[bytes], size: int) -> bool:
    """Whether a RIFF or MP4 file of `size` bytes declares a chunk or box that reaches past its end."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64"):
        header = wav.read_header(file, size)
        return header.truncated if header else 0 < int.from_bytes(head[4:8], "little") + 8 - size < 1 << 31
    if head[4:8] != b"ftyp":
        return False
    position = 0
    while position < size:
        file.seek(position)
        box = file.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:], "big")
        if length < 8:  # 0 is a last box without a length; less than a box's own head, a cut or broken one
            return len(box) < 8
        position += length
    return position > size


def declared_s(stream: Any, file: IO[bytes]) -> float | None:
    """The length in seconds that the header states for a PyAV stream, or None where there is only an estimate.

    Ogg, ADTS and live recordings state none. The position of `file` is kept: the stream reads from it.
    """
    container = stream.container
    name = container.format.name
    own = float(stream.duration * stream.time_base) if stream.duration else None
    if name == "mp3":
        counted = _counted_mp3_s(file, stream.codec_context.sample_rate)
        # FFmpeg goes over to an estimate when the file is much longer than the count, as when several were joined
        return own if own and counted and counted - 0.5 <= own <= counted + 0.1 else None
    if name.startswith("matroska") and len(container.streams) == 1 and container.duration:
        return float(container.duration / av.time_base)
    return own if name.startswith((*LOSSLESS, "mov,")) else None


def duration_s(stream: Any, file: IO[bytes]) -> float:
    """The declared length, or that of all packets together: nothing is decoded, but then the whole file is read."""
    known = declared_s(stream, file)
    if known is None and stream.container.format.name == "ogg" and stream.duration:
        known = float(stream.duration * stream.time_base)
    if known is not None:
        return known
    return float(sum((packet.duration or 0) * packet.time_base for packet in stream.container.demux(stream)))


def _counted_mp3_s(file: IO[bytes], rate_hz: int) -> float | None:
    """The length by the count of frames in an MP3's first frame (Xing, Info or VBRI), padding included."""
    position = file.tell()
    try:
        file.seek(0)
        head = file.read(10)
        tag = head[:3] == b"ID3" and len(head) == 10
        file.seek(10 + sum(byte << shift for byte, shift in zip(head[6:], _ID3_SHIFTS, strict=True)) if tag else 0)
        first = file.read(4096)
    finally:
        file.seek(position)
    for mark, offset in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = first.find(mark)
        if at >= 0:
            count = int.from_bytes(first[at + offset : at + offset + 4], "big")
            return count * (1152 if rate_hz >= 32000 else 576) / rate_hz or None
    return None
