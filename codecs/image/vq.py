"""`image/vq`: a learned image tokenizer, one token for 16x16 pixels, made for CPUs."""

from __future__ import annotations

from typing import ClassVar, Final

from omnicodec.codecs.image._vq import VQCodec
from omnicodec.codecs.registry import register

NAME: Final = "image/vq"


@register(NAME)
class ImageVQCodec(VQCodec):
    """Pictures of any size to one 16-bit token for each 16x16 pixels."""

    name: ClassVar[str] = NAME
    summary: ClassVar[str] = "one 16-bit token for 16x16 pixels, learned, for pictures of any size"
    chunk_positions: ClassVar[int] = 1 << 11  # about 3 KB, and half a megapixel
