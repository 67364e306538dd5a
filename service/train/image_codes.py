"""The tokens of training pictures, seen in several ways, which makes more of few pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from omnicodec.codecs import Image
from omnicodec.codecs.image._vq import VQCodec
from omnicodec.service.train.pictures import Picture

Grid = NDArray[np.int32]

VIEWS: Final = ((1.0, False), (1.0, True), (0.8, False), (0.65, True))
"""Scale, and whether mirrored. All but the first begin off the corner, so patches differ."""


def code_pictures(
    codec: VQCodec, pictures: Sequence[Picture], views: int, seed: int = 0
) -> Iterator[list[Grid]]:
    """Yield the tokens of each picture, int32 `(h, w)`, in the first so many of `VIEWS`.

    Views of less than a token are left out. The offsets are a function of `seed`.
    """
    rng = random.Random(seed)
    patch = int(codec.spec.covers["height"])
    for picture in pictures:
        grids = []
        for view in VIEWS[:views]:
            pixels = _seen(picture.pixels, *view, patch, rng)
            if min(pixels.shape[1:]) < patch:
                continue
            image = Image(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))
            (tokens,) = codec.encode([image])
            grids.append(tokens.ids.reshape(tokens.grid))
        yield grids


def _seen(pixels: Tensor, scale: float, mirrored: bool, patch: int, rng: random.Random) -> Tensor:
    """Return pixels uint8 `(3, H, W)` as a view shows them."""
    if mirrored:
        pixels = pixels.flip(2)
    if scale != 1:
        small = F.interpolate(
            pixels[None].float(), scale_factor=scale, mode="bilinear", antialias=True,
            align_corners=False,
        )  # fmt: skip
        pixels = small[0].round().clamp(0, 255).to(pixels.dtype)
    if (scale, mirrored) != VIEWS[0]:
        pixels = pixels[:, rng.randrange(1, patch) :, rng.randrange(1, patch) :]
    return pixels
