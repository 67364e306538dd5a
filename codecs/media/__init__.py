"""Media: small frozen dataclasses over numpy, with `.open` and `.save`.

`MODALITIES` maps each modality's name to its class; the registry, the service and the
command line read it, so a new modality is added here and nowhere else.
"""

from __future__ import annotations

from typing import Final

from omnicodec.codecs.media.audio import Audio
from omnicodec.codecs.media.base import Media
from omnicodec.codecs.media.image import Image
from omnicodec.codecs.media.series import Series
from omnicodec.codecs.media.text import Text
from omnicodec.codecs.media.video import Video

MODALITIES: Final[dict[str, type[Media]]] = {
    "audio": Audio,
    "image": Image,
    "series": Series,
    "text": Text,
    "video": Video,
}

__all__ = ["MODALITIES", "Audio", "Image", "Media", "Series", "Text", "Video"]
