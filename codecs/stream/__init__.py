"""The .omc stream: any codec's tokens as bytes, through that codec's prior."""

from __future__ import annotations

from omnicodec.codecs.stream.items import (
    compress,
    compress_many,
    decompress,
    decompress_many,
)
from omnicodec.codecs.stream.omc import StreamContents, inspect, read_tokens, write_tokens

__all__ = [
    "StreamContents",
    "compress",
    "compress_many",
    "decompress",
    "decompress_many",
    "inspect",
    "read_tokens",
    "write_tokens",
]
