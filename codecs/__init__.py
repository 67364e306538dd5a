"""omnicodec: any modality to tokens, to bytes, and back.

    >>> from omnicodec.codecs import Image, compress, decompress, load
    >>> codec = load("image/vq")
    >>> tokens = codec.encode([Image.open("photo.jpg")])
    >>> images = codec.decode(tokens)
    >>> stream = compress(images[0], "image/vq")

Networks are loaded by `load`, not before: importing this package is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from omnicodec.codecs.codec import Codec, CodecSpec, Decoder, Encoder, StreamingCodec
from omnicodec.codecs.errors import (
    Cancelled,
    CorruptStream,
    FingerprintMismatch,
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Unavailable,
    UnknownCodec,
)
from omnicodec.codecs.media import MODALITIES, Audio, Image, Media, Series, Text, Video
from omnicodec.codecs.registry import available, default_codec, describe, load
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.codecs.work import Progress, Work

if TYPE_CHECKING:
    from omnicodec.codecs.stream import (
        compress,
        compress_many,
        compress_pieces,
        decompress,
        decompress_frames,
        decompress_many,
        decompress_pieces,
    )

__all__ = [
    "MODALITIES",
    "Audio",
    "Cancelled",
    "Codec",
    "CodecSpec",
    "CorruptStream",
    "Decoder",
    "Encoder",
    "FingerprintMismatch",
    "Image",
    "InvalidInput",
    "LimitExceeded",
    "Media",
    "OmnicodecError",
    "Progress",
    "Series",
    "StreamingCodec",
    "Text",
    "Tokens",
    "Unavailable",
    "UnknownCodec",
    "Video",
    "Vocabulary",
    "Work",
    "available",
    "compress",
    "compress_many",
    "compress_pieces",
    "decompress",
    "decompress_frames",
    "decompress_many",
    "decompress_pieces",
    "default_codec",
    "describe",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import what needs protobuf when it is first asked for: that takes as long as the rest."""
    if name.startswith(("compress", "decompress")) and name in __all__:
        from omnicodec.codecs import stream

        return getattr(stream, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
