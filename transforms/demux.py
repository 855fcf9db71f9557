"""Files that are not plain WAV, read through PyAV: the best audio stream and its samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import av
import numpy as np
from av.error import FFmpegError
from av.stream import Discard

from transforms.blocks import BLOCK_FRAMES, Block
from transforms.declared import LOSSLESS, declared_s, ends_early
from transforms.errors import WavemillError

_OPTIONS = {"protocol_whitelist": "none"}
"""A playlist (HLS, DASH, concat, SDP) could name other files and hosts: no protocol is allowed but the file in hand."""
_SCALES = {"u8": 1 / 128, "s16": 1 / 32768, "s32": 1 / 2147483648, "flt": 1.0, "dbl": 1.0}
_TOLERANCE_S = 0.15
"""What an encoder's priming and padding may take from a declared length."""


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
    if " channels (" in layout.name:
        codec.layout = f"{layout.nb_channels}C"


def notes(stream: Any) -> str:
    """What the file says of itself in words."""
    return "\n".join((*stream.container.metadata.values(), *stream.metadata.values()))


def read_blocks(stream: Any, file: IO[bytes], size: int) -> Iterator[tuple[Block, int]]:
    """The stream's samples as (float32 block, rate in Hz), both of which may change on the way.

    A packet that cannot be decoded is left out, as players do; the end decides. Raises `bad_audio` when most cannot or
    the container breaks off, `audio_empty` without samples, `audio_truncated` when the samples end before they should.
    """
    declared = declared_s(stream, file)
    good, bad, broken = 0, 0, ""
    frames, first, last = 0, None, None
    waiting: list[Block] = []
    held = 0
    form: tuple[int, int, str] | None = None
    for decoded in _packets(stream):
        if not isinstance(decoded, list):
            bad, broken = bad + 1, decoded
            continue
        good += 1
        for frame in decoded:
            first = frame if first is None else first
            last = frame
            frames += frame.samples
            now = (frame.sample_rate, frame.layout.nb_channels, frame.format.name)
            if form and (now != form or held >= min(BLOCK_FRAMES, 2 * form[0])):
                yield _to_float(waiting, form), form[0]
                waiting, held = [], 0
            form = now
            waiting.append(_to_array(frame))
            held += frame.samples
    if form:
        block = _to_float(waiting, form)
        yield block[:, : block.shape[1] - _padding(stream, declared, frames, last)], form[0]
    if bad > good or (bad and first is None):
        raise WavemillError("bad_audio", f"{bad} of {good + bad} packets cannot be decoded")
    if first is None or last is None:
        raise WavemillError("audio_empty", "the file holds no samples")
    reached = max(frames / last.sample_rate, _span_s(first, last))
    slack = 1 / last.sample_rate if stream.container.format.name in LOSSLESS else _TOLERANCE_S
    if (declared is not None and reached + slack < declared) or ends_early(file, size):
        of = f" of {declared:.2f}" if declared else ""
        raise WavemillError("audio_truncated", f"the file ends early: {reached:.2f}{of} s are there")
    if broken:
        raise WavemillError("bad_audio", f"the file cannot be read on after {reached:.2f} s: {broken}")


def _packets(stream: Any) -> Iterator[list[Any] | str]:
    """The frames of each packet; "" for one that cannot be decoded, and last of all why the container cannot be read on."""
    packets = stream.container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFmpegError as error:
            yield error.strerror or "unknown error"
            return
        if packet is None:
            return
        try:
            yield packet.decode()
        except EOFError:
            return
        except FFmpegError:
            yield ""


def _span_s(first: Any, last: Any) -> float:
    """From the first frame's time stamp to the end of the last, which also counts what was left out between them."""
    if first.pts is None or last.pts is None:
        return 0.0
    return float((last.pts - first.pts) * last.time_base + last.samples / last.sample_rate)


def _padding(stream: Any, declared: float | None, frames: int, last: Any) -> int:
    """How much of the last frame is an AAC encoder's filling: MP4 declares the length without it, and FFmpeg leaves it in."""
    if declared is None or not stream.container.format.name.startswith("mov"):
        return 0
    excess = frames - round(declared * last.sample_rate)
    return excess if 0 < excess < last.samples else 0


def _to_array(frame: Any) -> Block:
    try:
        return np.asarray(frame.to_ndarray())
    except ValueError as error:
        raise WavemillError("bad_audio", f"samples of format {frame.format.name} cannot be read: {error}") from None


def _to_float(arrays: list[Block], form: tuple[int, int, str]) -> Block:
    """Decoded arrays of one format, planar (channels, n) or packed (1, n * channels), as one float32 block."""
    _, channels, samples = form
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
    if not samples.endswith("p"):
        joined = joined.reshape(-1, channels).T
    if samples.startswith("u8"):
        joined = joined.astype(np.int16) - 128
    scale = np.float32(_SCALES[samples.removesuffix("p")])
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(np.multiply(joined, scale, dtype=np.float32, casting="same_kind"))
