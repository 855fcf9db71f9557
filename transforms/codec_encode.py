"""Audio to the bytes of a file, by blocks: the same samples and options always give the same bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from av.codec.context import Flags

from transforms import wav
from transforms.blocks import BLOCK_FRAMES, Block, mix, recut, resample
from transforms.errors import WavemillError
from transforms.options import AudioOptions
from transforms.records import Audio, Encoded

_WAV_BYTES = (1 << 32) - 64


@dataclass(frozen=True, slots=True)
class _Format:
    """How PyAV writes a format. `rates_hz` is empty where any rate will do; `bits_s` is (default, least, most per channel).

    `tagging` are options without which the container has no place for a comment.
    """

    container: str
    codec: str
    samples: str
    channels: int
    rates_hz: tuple[int, ...] = ()
    bits_s: tuple[int, int, int] | None = None
    options: tuple[tuple[str, str], ...] = ()
    tagging: tuple[tuple[str, str], ...] = ()


_MP3_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_HZ = (*_MP3_HZ, 64000, 88200, 96000)
_OPUS_HZ = (8000, 12000, 16000, 24000, 48000)
_FORMATS = {
    "wav": _Format("wav", "pcm_s16le", "s16", 64, options=(("rf64", "auto"),)),
    "flac": _Format("flac", "flac", "s16", 8),
    "mp3": _Format("mp3", "libmp3lame", "fltp", 2, _MP3_HZ, (128_000, 8_000, 320_000)),
    "ogg": _Format("ogg", "libopus", "flt", 2, _OPUS_HZ, (64_000, 6_000, 256_000)),
    "opus": _Format("opus", "libopus", "flt", 2, _OPUS_HZ, (64_000, 6_000, 256_000)),
    "m4a": _Format("ipod", "aac", "fltp", 2, _AAC_HZ, (128_000, 8_000, 512_000)),
    "aac": _Format("adts", "aac", "fltp", 2, _AAC_HZ, (128_000, 8_000, 512_000), tagging=(("write_id3v2", "1"),)),
}
_LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")


def encode(audio: Audio, options: AudioOptions, comment: str = "") -> Encoded:
    """The audio as a file's bytes, at the rate, channels and bitrate of the options, or the nearest that the format has.

    WAV and FLAC are 16-bit. What a format cannot hold is mixed to stereo or resampled upwards (Opus: to 48 kHz). The
    options' loudness is not applied here. `comment` is written into the metadata. Raises `engine_error` when samples are not finite.
    """
    rate_hz, channels = _shape(audio.rate_hz, audio.channels, options)
    blocks = _prepare([audio.samples], audio.rate_hz, rate_hz, channels)
    if options.format == "wav" and not comment and audio.duration_s * rate_hz * channels * 2 < _WAV_BYTES:
        data, frames = _write_wav(blocks, rate_hz, channels)
    else:
        out = io.BytesIO()
        frames = _write(out, blocks, rate_hz, channels, options, comment)
        data = out.getvalue()
    return Encoded(data, options.format, hashlib.sha256(data).hexdigest(), frames / rate_hz)


def encode_to(path: Path, blocks: Iterable[Block], rate_hz: int, channels: int, options: AudioOptions, comment: str = "") -> float:
    """Blocks of shape (channels, frames) into a file, in constant memory; the seconds written. Raises as `encode` does."""
    to_hz, to_channels = _shape(rate_hz, channels, options)
    with path.open("wb") as out:
        return _write(out, _prepare(blocks, rate_hz, to_hz, to_channels), to_hz, to_channels, options, comment) / to_hz


def encode_stream(blocks: Iterable[Block], rate_hz: int, channels: int, options: AudioOptions, comment: str = "") -> Iterator[bytes]:
    """Blocks of shape (channels, frames) as the bytes of a file, each part as soon as its block has come.

    Lengths that such a file has at its beginning are not known, and say so. Raises `bad_option` for m4a, and as `encode` does.
    """
    if options.format == "m4a":
        raise WavemillError("bad_option", "format: m4a has its index at the beginning and cannot be streamed; aac can", "format")
    to_hz, to_channels = _shape(rate_hz, channels, options)
    pipe = _Pipe()
    for _ in _writing(pipe, _prepare(blocks, rate_hz, to_hz, to_channels), to_hz, to_channels, options, comment, flush=True):
        yield pipe.taken()
    yield pipe.taken()


class _Pipe:
    """What is written to, without a way back."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since this was called last."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _shape(rate_hz: int, channels: int, options: AudioOptions) -> tuple[int, int]:
    """The rate and channels of the file."""
    form = _FORMATS[options.format]
    wanted_hz = options.sample_rate or rate_hz
    if form.codec == "libopus" and wanted_hz not in _OPUS_HZ:
        wanted_hz = 48000
    elif form.rates_hz:
        wanted_hz = min((rate for rate in form.rates_hz if rate >= wanted_hz), default=form.rates_hz[-1])
    elif form.codec == "flac" and wanted_hz > 65535:
        wanted_hz = -(-wanted_hz // 10) * 10
    wanted = {"mono": 1, "stereo": 2, None: channels}[options.channels]
    return wanted_hz, wanted if wanted <= form.channels else 2


def _prepare(blocks: Iterable[Block], from_hz: int, to_hz: int, channels: int) -> Iterator[Block]:
    return resample((_finite(mix(block, channels)) for block in recut(blocks)), from_hz, to_hz, channels)


def _finite(block: Block) -> Block:
    if not np.logical_and.reduce(np.isfinite(block), axis=None):
        raise WavemillError("engine_error", "the audio holds samples that are not numbers")
    return block


def _write_wav(blocks: Iterable[Block], rate_hz: int, channels: int) -> tuple[bytes, int]:
    """A WAV file without PyAV, which takes a millisecond to open an encoder."""
    parts = [wav.to_int16(block).tobytes() for block in blocks]
    frames = sum(map(len, parts)) // (2 * channels)
    return b"".join((wav.make_header(frames, rate_hz, channels), *parts)), frames


def _write(out: IO[bytes], blocks: Iterable[Block], rate_hz: int, channels: int, options: AudioOptions, comment: str = "") -> int:
    return max(_writing(out, blocks, rate_hz, channels, options, comment), default=0)


def _writing(
    out: Any, blocks: Iterable[Block], rate_hz: int, channels: int, options: AudioOptions, comment: str, flush: bool = False
) -> Iterator[int]:
    """Writes a block each time it is asked, and says how many frames that makes."""
    form = _FORMATS[options.format]
    extra = {"movie_timescale": str(rate_hz)} if form.container == "ipod" else {}
    if comment:
        extra |= dict(form.tagging)
    with av.open(
        out,
        "w",
        format=form.container,
        options={"fflags": "+bitexact+flush_packets" if flush else "+bitexact", **dict(form.options), **extra},
    ) as container:
        stream: Any = container.add_stream(form.codec, rate=rate_hz)
        codec = stream.codec_context
        if comment:
            container.metadata["comment"] = comment
        codec.layout, codec.format = _layout(channels), form.samples
        codec.flags |= Flags.bitexact
        if form.bits_s:
            default, least, most = form.bits_s
            codec.bit_rate = max(least, min((options.bitrate or 0) * 1000 or default, most * channels))
        container.start_encoding()
        fifo = av.AudioFifo()
        frames = 0
        for block in blocks:
            fifo.write(_to_frame(block, frames, form.samples, rate_hz))
            frames += block.shape[1]
            for frame in fifo.read_many(codec.frame_size or BLOCK_FRAMES):
                container.mux(codec.encode(frame))
            yield frames
        rest = fifo.read(partial=True) if frames else None
        if rest is not None:
            container.mux(codec.encode(rest))
        container.mux(codec.encode(None))


def _layout(channels: int) -> str:
    return _LAYOUTS[channels - 1] if channels <= len(_LAYOUTS) else f"{channels}C"


def _to_frame(block: Block, start: int, samples: str, rate_hz: int) -> Any:
    if samples == "s16":
        array = wav.to_int16(block).reshape(1, -1)
    else:
        within = np.clip(block, np.float32(-1), np.float32(1), dtype=np.float32)
        array = np.ascontiguousarray(within) if samples.endswith("p") else np.ascontiguousarray(within.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(array, format=samples, layout=_layout(block.shape[0]))
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
    return frame
