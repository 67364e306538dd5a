"""The best result so far as a small picture."""

from __future__ import annotations

import io
from typing import Final

from PIL import Image as Pillow

from omnicodec.codecs import Image, Media, Video

MAX_SIDE: Final = 256
MAX_BYTES: Final = 1 << 16


def draw(media: Media) -> bytes:
    """Return a JPEG of a picture, or of the middle frame of a video; of others nothing."""
    if isinstance(media, Image):
        pixels = media.pixels
    elif isinstance(media, Video) and len(media.frames):
        pixels = media.frames[len(media.frames) // 2]
    else:
        return b""
    if not pixels.size:
        return b""
    picture = Pillow.fromarray(pixels)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    data = file.getvalue()
    return data if len(data) <= MAX_BYTES else b""
