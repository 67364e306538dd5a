"""The .omc stream: any codec's tokens as bytes, through that codec's prior."""

from __future__ import annotations

from omnicodec.codecs.stream.excerpt import Excerpt, decode_excerpt, decompress_frames, read_frames
from omnicodec.codecs.stream.items import (
    compress,
    compress_many,
    decompress,
    decompress_many,
)
from omnicodec.codecs.stream.omc import StreamContents, inspect, read_tokens, write_tokens
from omnicodec.codecs.stream.pieces import StreamReader, compress_pieces, decompress_pieces
from omnicodec.codecs.stream.sound import decode_contents, encode_sound

__all__ = [
    "Excerpt",
    "StreamContents",
    "StreamReader",
    "compress",
    "compress_many",
    "compress_pieces",
    "decode_contents",
    "decode_excerpt",
    "decompress",
    "decompress_frames",
    "decompress_many",
    "decompress_pieces",
    "encode_sound",
    "inspect",
    "read_frames",
    "read_tokens",
    "write_tokens",
]
