"""Previews: what the HTML page shows of the worst items, as files that a browser opens."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import numpy as np

from omnicodec.codecs import Audio, Image, Media, Video
from omnicodec.service.evaluate.figures import Item
from omnicodec.service.evaluate.sound_metrics import RATE, resampled
from omnicodec.service.evaluate.spectrogram import loudest_band, spectrogram

PICTURES: Final = 12
"""How many pictures are kept."""

PICTURE_SIZE: Final = (480, 360)
"""Width and height in pixels of the middle part that is kept of a picture."""

SOUNDS: Final = 8
"""How many sounds are kept."""

SOUND_SECONDS: Final = 6
"""Length of the middle part that is kept of a sound."""

CLIPS: Final = 4
"""How many clips are kept."""

CLIP_SECONDS: Final = 4
"""Length of what is kept of a clip, from its beginning."""

CLIP_SIZE: Final = (400, 300)
"""Width and height in pixels of the middle part that is kept of a clip."""

EQUAL_SIZE: Final = "at equal size"
"""How titles of file formats end that have about the bytes of the codec's own files."""


@dataclass(frozen=True)
class View:
    """An item or its reconstruction: a picture as WebP, of sound a FLAC file, of video a WebM.

    `title` is the same for all items, `detail` is about this one. A `clip` has so many
    `frames`, `fps` a second; `series` has figures of each frame of all the video. An `anchor`
    is a file format.
    """

    title: str
    picture: bytes = b""
    sound: bytes = b""
    detail: str = ""
    clip: bytes = b""
    fps: float = 0.0
    frames: int = 0
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    anchor: bool = False


Preview = tuple[View, ...]
"""The same part of an original and of its reconstructions, the original first."""


@dataclass(frozen=True)
class Version:
    """An item, or what came back of it; `flat` pictures are drawings with few colours.

    `series` has figures of each frame of a video; an `anchor` is a file format.
    """

    title: str
    media: Media
    detail: str = ""
    flat: bool = False
    series: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    anchor: bool = False


def limit(media: Media) -> int:
    """Return how many items of this kind previews are kept of."""
    if isinstance(media, Video):
        return CLIPS
    return SOUNDS if isinstance(media, Audio) else PICTURES


def preview(versions: Sequence[Version]) -> Preview:
    """Return the views of one item; none for texts and others that are not shown."""
    original = versions[0].media
    if isinstance(original, Video):
        return tuple(
            _clip(v, v.media, original.fps, original.frames.shape)
            for v in versions
            if isinstance(v.media, Video)
        )
    if isinstance(original, Image):
        return tuple(
            View(v.title, _crop(v.media, v.flat), detail=v.detail)
            for v in versions
            if isinstance(v.media, Image)
        )
    if not isinstance(original, Audio):
        return ()
    sounds = [(v, _part(v.media)) for v in versions if isinstance(v.media, Audio)]
    loudest = loudest_band(sounds[0][1])
    return tuple(
        View(v.title, spectrogram(sound, loudest), _flac(sound), v.detail) for v, sound in sounds
    )


def drop_all_but(previews: dict[str, Preview], worst: Sequence[Item]) -> None:
    """Remove the previews of items that are not among these."""
    names = {item.name for item in worst}
    for name in previews.keys() - names:
        del previews[name]


def _crop(image: Image, flat: bool) -> bytes:
    """Return the middle of a picture, at its own scale, as a WebP file."""
    from PIL import Image as Pillow

    width, height = min(PICTURE_SIZE[0], image.width), min(PICTURE_SIZE[1], image.height)
    x, y = (image.width - width) // 2, (image.height - height) // 2
    out = io.BytesIO()
    pixels = image.pixels[y : y + height, x : x + width]
    Pillow.fromarray(pixels).save(out, "WEBP", quality=92, method=2, lossless=flat)
    return out.getvalue()


def _clip(version: Version, media: Video, fps: Fraction, shape: tuple[int, ...]) -> View:
    """Return the middle of the first frames as a WebM file, at the original's rate."""
    count = min(shape[0], max(1, round(CLIP_SECONDS * fps)))
    height, width = min(CLIP_SIZE[1], shape[1]), min(CLIP_SIZE[0], shape[2])
    y, x = (shape[1] - height) // 2, (shape[2] - width) // 2
    frames = media.frames[:count, y : y + height, x : x + width]
    return View(
        version.title,
        detail=version.detail,
        clip=Video(frames, fps).to_bytes(".webm"),
        fps=float(fps),
        frames=count,
        series=version.series,
        anchor=version.anchor,
    )


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
