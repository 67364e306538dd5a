"""Sounds, pictures and clips to put through published codecs: made here, and always the same."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Audio, Image, Video

LENGTHS: Final = (1.0, 8.0)
"""Seconds of mixed clips of sound, from and to."""

SIDES: Final = (128, 160, 192, 256)
"""Heights and widths of mixed pictures: whole tokens of every family, as its library wants them."""

ONE: Final = {"seconds": (5, 10), "side": (256, 512)}
"""What one item has, and a large one."""

_PIECE_SECONDS: Final = 5


def sound(seconds: float, rate: int, channels: int, seed: int = 0) -> Audio:
    """Return tones, a sweep and noise that swell and fade; channels differ."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = rng.uniform(80, 0.1 * rate, (channels, 4, 1))
    swell = np.square(np.sin(np.pi * rng.uniform(0.3, 3, (channels, 5, 1)) * time))
    tones = np.sin(2 * np.pi * pitch * time)
    sweep = np.sin(np.pi * (0.4 * rate / max(seconds, 1)) * time * time)[None]
    noise = rng.standard_normal((channels, time.size))
    rows = 0.1 * (tones * swell[:, :4]).sum(1) + 0.05 * sweep + 0.1 * noise * swell[:, 4]
    return Audio(rows.astype(np.float32), rate)


def long_sound(seconds: float, rate: int, channels: int) -> Audio:
    """Return one after the other: no more memory is taken than for a piece, and the sound."""
    out = np.zeros((channels, round(seconds * rate)), np.float32)
    for seed, at in enumerate(range(0, out.shape[1], _PIECE_SECONDS * rate)):
        place = out[:, at : at + _PIECE_SECONDS * rate]
        place[:] = sound(place.shape[1] / rate, rate, channels, seed).samples
    return Audio(out, rate)


def picture(height: int, width: int, seed: int = 0) -> Image:
    """Return smooth shapes, edges and a little noise."""
    return Image(_pixels(1, height, width, seed)[0])


def clip(frames: int, height: int, width: int, seed: int = 0) -> Video:
    """Return the same that moves."""
    return Video(_pixels(frames, height, width, seed), Fraction(24))


def _pixels(frames: int, height: int, width: int, seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    t, y, x = np.mgrid[0:frames, 0:height, 0:width]
    found = np.full((frames, height, width, 3), rng.uniform(60, 190, 3))
    for index in range(6):
        a, b, c = rng.uniform(0.01, 0.1, 3)
        wave = np.sin(a * x + b * y + c * t + rng.uniform(0, 6))
        found += rng.uniform(5, 40, 3) * (np.sign(wave) if index % 3 == 0 else wave)[..., None]
    found += rng.normal(0, 6, found.shape)
    return found.round().clip(0, 255).astype(np.uint8)


def mixed(modality: str, count: int, rate: int, channels: int) -> list[Any]:
    """Return items of mixed sizes: clips of 1 to 8 s, pictures, or short clips of pictures."""
    rng = np.random.default_rng(1)
    if modality == "audio":
        seconds = rng.uniform(*LENGTHS, count)
        return [sound(s, rate, channels, seed) for seed, s in enumerate(seconds)]
    sides = rng.choice(SIDES, (count, 2))
    if modality == "image":
        return [picture(int(h), int(w), seed) for seed, (h, w) in enumerate(sides)]
    frames = 1 + 8 * rng.integers(1, 3, count)
    return [
        clip(int(n), int(h), int(w), seed)
        for seed, (n, (h, w)) in enumerate(zip(frames, sides, strict=True))
    ]


def one(modality: str, rate: int, channels: int, *, large: bool = False) -> Any:
    """Return one item; a clip of pictures is short, and half as high and wide as a picture."""
    if modality == "audio":
        return sound(ONE["seconds"][large], rate, channels)
    side = ONE["side"][large]
    if modality == "image":
        return picture(side, side)
    return clip(17 if large else 9, side // 2, side // 2)


def amount(items: Sequence[Any]) -> float:
    """Return how much they are: seconds of sound, or pixels."""
    return sum(
        item.duration
        if isinstance(item, Audio)
        else float((item.frames if isinstance(item, Video) else item.pixels).size // 3)
        for item in items
    )


def told(item: Any) -> str:
    """Return what an item is, as people read it."""
    if isinstance(item, Audio):
        return f"{item.duration:g} s, {item.sample_rate:,} Hz, {len(item.samples)} channel(s)"
    if isinstance(item, Video):
        frames, height, width, _ = item.frames.shape
        return f"{frames} frames of {width}x{height}"
    return f"{item.width}x{item.height} pixels"
