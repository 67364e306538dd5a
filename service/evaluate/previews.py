"""Previews: what the HTML page shows of the worst items, as files that a browser opens."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from omnicodec.codecs import Audio, Image, Media
from omnicodec.service.evaluate.figures import Item
from omnicodec.service.evaluate.sound_metrics import RATE, resampled
from omnicodec.service.evaluate.spectrogram import loudest_band, spectrogram

PICTURES: Final = 24
"""How many pictures are kept."""

PICTURE_SIZE: Final = (400, 300)
"""Width and height in pixels of the middle part that is kept of a picture."""

SOUNDS: Final = 8
"""How many sounds are kept."""

SOUND_SECONDS: Final = 6
"""Length of the middle part that is kept of a sound."""


@dataclass(frozen=True)
class View:
    """An item or its reconstruction: a picture as WebP, and of sound a FLAC file."""

    title: str
    picture: bytes
    sound: bytes = b""


Preview = tuple[View, ...]
"""The same part of an original and of its reconstructions, the original first."""


class Previews:
    """Previews of the worst items so far, by name."""

    def __init__(self) -> None:
        self.found: dict[str, Preview] = {}

    def add(self, name: str, media: Mapping[str, Media], worst_first: Sequence[Item]) -> None:
        """Keep an item, given its versions by title, if it is among the worst so far.

        What is no longer among them is dropped.
        """
        limit = SOUNDS if isinstance(media["original"], Audio) else PICTURES
        worst = {item.name for item in worst_first[:limit]}
        if name in worst and (views := _views(media)):
            self.found[name] = views
        for other in self.found.keys() - worst:
            del self.found[other]


def _views(media: Mapping[str, Media]) -> Preview:
    """Return an item's versions; none for media that are neither pictures nor sound."""
    pictures = {title: item for title, item in media.items() if isinstance(item, Image)}
    sounds = {title: _part(item) for title, item in media.items() if isinstance(item, Audio)}
    if pictures:
        return tuple(View(title, _crop(picture)) for title, picture in pictures.items())
    if not sounds:
        return ()
    loudest = loudest_band(sounds["original"])
    return tuple(
        View(title, spectrogram(sound, loudest), _flac(sound)) for title, sound in sounds.items()
    )


def _crop(image: Image) -> bytes:
    """Return the middle of a picture, at its own scale, as a WebP file."""
    from PIL import Image as Pillow

    width, height = min(PICTURE_SIZE[0], image.width), min(PICTURE_SIZE[1], image.height)
    x, y = (image.width - width) // 2, (image.height - height) // 2
    out = io.BytesIO()
    pixels = image.pixels[y : y + height, x : x + width]
    Pillow.fromarray(pixels).save(out, "WEBP", quality=92, method=2)
    return out.getvalue()


def _part(audio: Audio) -> Audio:
    """Return the middle of a sound at 24 kHz or less, its first two channels."""
    rate = min(audio.sample_rate, RATE)
    length = audio.samples.shape[1]
    take = min(length, SOUND_SECONDS * audio.sample_rate)
    start = (length - take) // 2
    samples = audio.samples[:2, start : start + take]
    return Audio(resampled(samples, audio.sample_rate, rate), rate)


def _flac(audio: Audio) -> bytes:
    """Return a FLAC file of samples that have 16 bits, which is what its size depends on."""
    levels = np.float32(1 << 15)
    rounded = (audio.samples * levels).round().clip(-levels, levels - 1) / levels
    return (
        Audio(rounded.astype(np.float32, copy=False), audio.sample_rate).to_bytes(".flac")
        if rounded.size
        else b""
    )
