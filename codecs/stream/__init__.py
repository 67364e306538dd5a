"""The .omc stream: any codec's tokens as bytes, through that codec's prior."""

from __future__ import annotations

from omnicodec.codecs.stream.omc import (
    StreamContents,
    compress,
    decompress,
    inspect,
    read_tokens,
    write_tokens,
)

__all__ = ["StreamContents", "compress", "decompress", "inspect", "read_tokens", "write_tokens"]
