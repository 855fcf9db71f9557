"""Files that are not plain WAV, read through PyAV: the audio stream, its samples, and the length that its header declares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Discard

from transforms import wav
from transforms.blocks import BLOCK_FRAMES, Block
from transforms.errors import WavemillError

_OPTIONS = {"protocol_whitelist": "none"}
"""A playlist (HLS, DASH, concat, SDP) could name other files and hosts: no protocol is allowed but the file in hand."""
_SCALES = {"u8": 1 / 128, "s16": 1 / 32768, "s32": 1 / 2147483648, "flt": 1.0, "dbl": 1.0}
_EXACT = {"flac", "aiff", "au", "tta", "wv", "ape"}
_TOLERANCE_S = 0.15
"""What an encoder's priming and padding may add to a declared length or take from it."""


@contextmanager
def open_stream(file: IO[bytes], size: int) -> Iterator[Any]:
    """The file's best audio stream. Raises `bad_audio`, or `audio_truncated` when the file's end is missing."""
    file.seek(0)
    try:
        container = av.open(file, "r", options=_OPTIONS, metadata_errors="replace")
    except FFmpegError as error:
        if isinstance(error, EOFError) or ends_early(file, size):
            raise WavemillError("audio_truncated", "the file ends inside its header") from None
        raise WavemillError("bad_audio", f"not an audio file that can be read: {error.strerror}") from None
    with container:
        stream = container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            raise WavemillError("bad_audio", f"no audio that can be decoded in this {container.format.name} file")
        _forget_labels(stream.codec_context)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        yield stream


def _forget_labels(codec: Any) -> None:
    """Replace a channel layout with labels of its own by a bare count of channels.

    PyAV 18.1 frees such a layout's labels twice, once with every frame: a valid CAF file would end the process. Taking it
    out of the decoder before the first frame leaves one owner.
    """
    layout = codec.layout
    if "(" in layout.name.removesuffix("(side)").removesuffix("(back)"):
        codec.layout = f"{layout.nb_channels}C"


def ends_early(file: IO[bytes], size: int) -> bool:
    """Whether a RIFF or MP4 file declares a chunk or box that reaches past its end."""
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
        elif length == 0:
            return False
        if length < 8:
            return len(box) < 8
        position += length
    return position > size


def declared_s(stream: Any, file: IO[bytes]) -> float | None:
    """The length in seconds that the header states for this stream, or None where it is only an estimate."""
    container = stream.container
    name = container.format.name
    position = file.tell()
    if name == "mp3" and not _counts_frames(file):
        file.seek(position)
        return None
    file.seek(position)
    if name.startswith("matroska") and len(container.streams) == 1 and container.duration:
        return float(container.duration / av.time_base)
    if (name in _EXACT or name == "mp3" or name.startswith("mov")) and stream.duration:
        return float(stream.duration * stream.time_base)
    return None


def duration_s(stream: Any, file: IO[bytes]) -> float:
    """The declared length, or that of all packets together: nothing is decoded, but then the whole file is read."""
    known = declared_s(stream, file)
    if known is None and stream.container.format.name == "ogg" and stream.duration:
        known = float(stream.duration * stream.time_base)
    if known is not None:
        return known
    return float(sum((packet.duration or 0) * packet.time_base for packet in stream.container.demux(stream)))


def _counts_frames(file: IO[bytes]) -> bool:
    """Whether the first frame of an MP3 is the one that counts the others (Xing, Info, VBRI)."""
    file.seek(0)
    head = file.read(10)
    tag = 0
    if head[:3] == b"ID3" and len(head) == 10:
        tag = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    file.seek(tag)
    first = file.read(4096)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))


def read_blocks(stream: Any, file: IO[bytes], size: int) -> Iterator[tuple[Block, int]]:
    """The stream's samples as (float32 block, rate in Hz), both of which may change on the way.

    A packet that cannot be decoded is left out, as players do; the end decides. Raises `bad_audio` when most cannot,
    `audio_empty` without samples, `audio_truncated` when the last sample comes before the declared length.
    """
    declared = declared_s(stream, file)
    good, bad, frames, first, last = 0, 0, 0, None, None
    waiting: list[Block] = []
    size_waiting, form = 0, None
    for decoded in _packets(stream):
        if decoded is None:
            bad += 1
            continue
        good += 1
        for frame in decoded:
            first = frame if first is None else first
            last = frame
            frames += frame.samples
            now = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
            if form and (now != form or size_waiting >= min(BLOCK_FRAMES, 2 * form[0])):
                yield _to_float(waiting, form[1], form[2]), form[0]
                waiting, size_waiting = [], 0
            form = now
            waiting.append(_to_array(frame))
            size_waiting += frame.samples
    if waiting and form:
        block = _to_float(waiting, form[1], form[2])
        yield block[:, : block.shape[1] - _padding(stream, declared, frames, last)], form[0]
    if bad > good or (bad and not frames):
        raise WavemillError("bad_audio", f"{bad} of {good + bad} packets cannot be decoded")
    if first is None or last is None:
        raise WavemillError("audio_empty", "the file holds no samples")
    reached = frames / last.sample_rate
    if first.pts is not None and last.pts is not None:
        reached = max(reached, float((last.pts - first.pts) * last.time_base) + last.samples / last.sample_rate)
    slack = 1 / last.sample_rate if stream.container.format.name in _EXACT else _TOLERANCE_S
    if declared is not None and reached + slack < declared:
        raise WavemillError("audio_truncated", f"{reached:.2f} s of {declared:.2f} s are there")
    if ends_early(file, size):
        raise WavemillError("audio_truncated", f"the file ends early, after {reached:.2f} s")


def _padding(stream: Any, declared: float | None, frames: int, last: Any) -> int:
    """How much of the last frame is an AAC encoder's filling: MP4 declares the length without it, and FFmpeg leaves it in."""
    if declared is None or not stream.container.format.name.startswith("mov"):
        return 0
    excess = frames - round(declared * last.sample_rate)
    return excess if 0 < excess < last.samples else 0


def _packets(stream: Any) -> Iterator[list[Any] | None]:
    """The frames of each packet, or None for one that cannot be decoded."""
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError:
            # the container itself is broken from here on: what comes of it is the last thing to judge
            yield None
            return
        if packet is None:
            return
        try:
            yield packet.decode()
        except EOFError:
            return
        except FFmpegError:
            yield None


def _to_array(frame: Any) -> Block:
    try:
        return np.asarray(frame.to_ndarray())
    except ValueError as error:
        raise WavemillError("bad_audio", f"samples of format {frame.format.name} cannot be read: {error}") from None


def _to_float(arrays: list[Block], channels: int, form: str) -> Block:
    """Decoded arrays of one format, planar (channels, n) or packed (1, n * channels), as one float32 block."""
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
    if not form.endswith("p"):
        joined = joined.reshape(-1, channels).T
    if form.startswith("u8"):
        joined = joined.astype(np.int16) - 128
    with np.errstate(over="ignore", invalid="ignore"):
        scaled: Block = np.multiply(joined, np.float32(_SCALES[form.removesuffix("p")]), dtype=np.float32, casting="same_kind")
    return scaled
