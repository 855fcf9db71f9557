"""Audio files in and out: `decode` and `probe` anything PyAV can read, `encode` the formats of `AudioOptions`.

Import this lazily: it brings numpy, PyAV and soxr.
"""

from __future__ import annotations

from transforms.codec_decode import decode, probe
from transforms.codec_encode import encode, encode_stream, encode_to

__all__ = ["decode", "encode", "encode_stream", "encode_to", "probe"]
