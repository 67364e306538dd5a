"""What a predicted frame lacks, as bands of a wavelet, and back in integers.

The transform is that of `wavelet`, untrained: residuals are mostly nothing, and a block of 16x16
pixels without latents costs neither bits nor, but for this, time.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.inr.exact_convolution import (
    Convolution,
    painted,
    painted_over,
    shuffled,
    signals,
)
from omnicodec.models.inr.exact_kernels import Colours, Ints, Pixels
from omnicodec.models.inr.pyramid import COLOURS, channels, padded, shifts
from omnicodec.models.inr.synthesis import COLOUR_AXES, doubling_layer
from omnicodec.models.inr.wavelet import extended_exact, halving, mirrored

LEVELS: Final = 4
BLOCK: Final = 1 << LEVELS
"""Sides of the blocks that have latents or none."""

STEP_BITS: Final = 8
"""Fractional bits of a step, in levels of a pixel."""

LOOSEST: Final = 0.1
FINEST: Final = 5e-5
"""What a bit a pixel weighs in mean squared error, of pixels in 0 to 1, at qualities 0 and 100."""

_SIGNAL_BITS: Final = 6
"""Fractional bits at full resolution; one less for each halving, as signals grow."""

_WEIGHT_BITS: Final = 13
_MOST: Final = (1 << 15) - 1


def weight_of(quality: float) -> float:
    """Return what a bit a pixel may cost in mean squared error at a quality, 0 to 100."""
    return float(LOOSEST * (FINEST / LOOSEST) ** (quality / 100))


def transformed(residual: NDArray[np.int16]) -> list[NDArray[np.float32]]:
    """Return the scales `(C, h, w)`, coarse first, of a residual `(H, W, 3)` in levels."""
    height, width = residual.shape[:2]
    high, wide = padded(height, width, LEVELS)
    sides = ((0, high - height), (0, wide - width), (0, 0))
    pixels = torch.from_numpy(np.pad(residual, sides, "edge").astype(np.float32)).permute(2, 0, 1)[
        None
    ]
    bands: list[Tensor] = []
    with torch.inference_mode():
        picture = F.conv2d(pixels, COLOUR_AXES[:, :, None, None])
        weight = halving().repeat(COLOURS, 1, 1, 1)
        for level in range(LEVELS):
            phases = F.pixel_unshuffle(mirrored(picture), 2)
            found = F.conv2d(phases, weight, groups=COLOURS).unflatten(1, (COLOURS, 4))
            picture = found[:, :, 0]
            kept = found[:, : 1 if level == 0 else COLOURS, 1:]
            bands.append(kept.flatten(1, 2))
    return [y[0].numpy() for y in (picture, *reversed(bands))]


def restored(scales: list[Ints], step: int) -> Ints:
    """Return the residual, `(H, W, 3)` in levels, of integer scales with one step for all."""
    return painted(_phases(scales, step), _colours())


def corrected(predicted: Pixels, scales: list[Ints], step: int) -> Pixels:
    """Return a prediction `(H, W, 3)` with its residual, whose sides are padded ones, as pixels."""
    return painted_over(predicted, _phases(scales, step), _colours())


def _phases(scales: list[Ints], step: int) -> Ints:
    """Return the three planes of a residual in four phases each."""
    sized = []
    for y, shift in zip(scales, shifts(LEVELS), strict=True):
        lost = STEP_BITS - _SIGNAL_BITS + shift
        sized.append(signals(y, np.full(len(y), step), lost, _MOST))
    picture, *others = sized
    for level, (double, bands) in enumerate(zip(_doublings(), others, strict=True)):
        phases = double(extended_exact(picture, bands))
        if level + 1 < LEVELS:
            picture = shuffled(phases)
    return phases


@cache
def _doublings() -> list[Convolution]:
    return [
        Convolution(doubling_layer(bands), _WEIGHT_BITS, more=1) for bands in channels(LEVELS)[1:]
    ]


@cache
def _colours() -> Colours:
    layer = nn.Conv2d(COLOURS, 3, 1)
    layer.weight.data.copy_(COLOUR_AXES.T[:, :, None, None])
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return Convolution(layer, _WEIGHT_BITS).colours(1, _SIGNAL_BITS)
