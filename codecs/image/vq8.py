"""`image/vq8`: the tokenizer of `image/vq` with a token for 8x8 pixels, for more detail."""

from __future__ import annotations

from typing import ClassVar, Final

from omnicodec.codecs.image._vq import VQCodec
from omnicodec.codecs.registry import register

NAME: Final = "image/vq8"


@register(NAME)
class ImageVQ8Codec(VQCodec):
    """Pictures of any size to one 16-bit token for each 8x8 pixels."""

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "one 16-bit token for 8x8 pixels, learned, for pictures of any size"
    chunk_positions: ClassVar[int] = 1 << 13  # about 12 KB, and half a megapixel
