"""Training pictures: read once from tar shards or folders, then random crops in memory."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from omnicodec.codecs import Image, InvalidInput, OmnicodecError
from omnicodec.service.train.files import read_files


@dataclass(frozen=True)
class Picture:
    """`pixels` is uint8 `(3, H, W)`; `weight` is how often it is drawn, relative to others."""

    pixels: Tensor
    weight: float


def read_pictures(source: Path, weights: Mapping[str, float], smallest: int) -> list[Picture]:
    """Return all pictures below `source`: files, and members of .tar shards.

    `weights` gives a factor by group, a shard's or folder's name; others count 1. A picture
    counts by the square root of its area too. Pictures with a side under `smallest` pixels
    are left out. Raises `InvalidInput` when nothing is left.
    """
    pictures = []
    for group, data in read_files(source):
        try:
            pixels = torch.from_numpy(Image.open(data).pixels).permute(2, 0, 1).contiguous()
        except OmnicodecError:
            continue  # a text file among pictures is no reason to stop
        if min(pixels.shape[1:]) >= smallest:
            area = pixels.shape[1] * pixels.shape[2]
            pictures.append(Picture(pixels, weights.get(group, 1.0) * area**0.5))
    if not pictures:
        raise InvalidInput(f"no pictures of {smallest} pixels or more in {str(source)!r}")
    return pictures


def whole(picture: Picture, patch: int, device: torch.device) -> Tensor:
    """Return a picture as a batch of one, cut to whole patches: float `(1, 3, H, W)` in -1 to 1."""
    height, width = (n // patch * patch for n in picture.pixels.shape[1:])
    pixels = picture.pixels[None, :, :height, :width].to(device).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


def crops(
    pictures: list[Picture], size: int, batch: int, seed: int, zoom: float
) -> Iterator[Tensor]:
    """Yield batches of random crops for ever: float `(batch, 3, size, size)` in -1 to 1.

    Half of them are mirrored; half are cut larger or smaller by up to the factor `zoom`
    and scaled to size. The sequence is a function of `seed`.
    """
    rng = random.Random(seed)
    weights = [picture.weight for picture in pictures]
    while True:
        drawn = rng.choices(pictures, weights, k=batch)
        yield torch.stack([_crop(picture.pixels, size, zoom, rng) for picture in drawn])


def _crop(pixels: Tensor, size: int, zoom: float, rng: random.Random) -> Tensor:
    side = size
    if rng.random() < 0.5:
        side = round(size * zoom ** rng.uniform(-1, 1))
    height, width = pixels.shape[1:]
    side = min(side, height, width)
    y, x = rng.randrange(height - side + 1), rng.randrange(width - side + 1)
    crop = pixels[:, y : y + side, x : x + side].float()
    if side != size:
        crop = F.interpolate(
            crop[None], (size, size), mode="bilinear", antialias=True, align_corners=False
        )[0]
    if rng.random() < 0.5:
        crop = crop.flip(2)
    return crop / 127.5 - 1
