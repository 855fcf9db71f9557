"""Chunks of live sessions: messages that hold a little audio each, in sequence. `chunk.schema.json` is their schema."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Base64Bytes, Field, ValidationError

from sources.claims import INLINE_BYTES, broken
from transforms import codec, live, wav
from transforms.blocks import Block, gather, resample
from transforms.errors import WavemillError
from transforms.schemas import Strict, published


class ChunkAudio(Strict):
    """PCM where `rate_hz` is given: mono, 16 bits, little-endian. Else a whole small file of any format, such as Opus in Ogg."""

    data: Base64Bytes = Field(description=f"in base64, at most {INLINE_BYTES} bytes and {live.MOST_CHUNK_S:g} s of them")
    rate_hz: int | None = Field(None, ge=4000, le=192_000, description="of PCM")


class ChunkMessage(Strict):
    """A stretch of a session's audio. All of a session have the session's name as their key, so that one partition has them all."""

    version: Literal[1] = Field(description="of this schema")
    session: str = Field(min_length=1, max_length=200, description="its name")
    seq: int = Field(ge=0, lt=1 << 31, description="0, 1, 2 and so on in a session")
    audio: ChunkAudio | None = Field(None, description="may be left out where the session ends")
    end: bool = Field(False, description="whether this is the session's last chunk")


def schema() -> dict[str, Any]:
    """The JSON Schema of a chunk, as `chunk.schema.json` publishes it."""
    return published(ChunkMessage.model_json_schema(), "chunk")


def parse(value: bytes | None) -> ChunkMessage:
    """The chunk in a message. Raises `bad_message` saying what is wrong with it."""
    try:
        return ChunkMessage.model_validate_json(value or b"")
    except ValidationError as error:
        raise broken(error) from None


def samples_of(chunk: ChunkMessage) -> np.ndarray:
    """Its audio: mono at 16 kHz, int16 of shape (frames,). Raises what `codec.decode` raises, and `audio_too_large`."""
    if chunk.audio is None:
        return np.zeros(0, np.int16)
    data, rate_hz = chunk.audio.data, chunk.audio.rate_hz
    if len(data) > INLINE_BYTES:
        raise WavemillError("audio_too_large", f"{len(data)} bytes, more than {INLINE_BYTES}", "audio")
    if rate_hz is None:
        return _as_integers(codec.decode(data, live.RATE_HZ, 1, live.MOST_CHUNK_S).samples)
    if len(data) % 2:
        raise WavemillError("bad_audio", f"{len(data)} bytes are no whole number of 16-bit samples", "audio")
    pcm = np.frombuffer(data, "<i2")
    if len(pcm) > live.MOST_CHUNK_S * rate_hz:
        raise WavemillError("audio_too_long", f"{len(pcm) / rate_hz:.3f} s, more than {live.MOST_CHUNK_S:g}", "audio")
    if rate_hz == live.RATE_HZ:
        return pcm.astype(np.int16)
    block = pcm[None].astype(np.float32) / 32768
    return _as_integers(gather(resample([block], rate_hz, live.RATE_HZ, 1), live.RATE_HZ, 1).samples)


def _as_integers(block: Block) -> np.ndarray:
    return wav.to_int16(block)[:, 0].astype(np.int16)
