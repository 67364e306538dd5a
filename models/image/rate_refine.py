"""Refinement of the latents of one picture: more time for fewer bits or less error.

The analysis network answers at once and for all pictures; a few steps down the gradient of
this picture's own cost do better (Yang, Bamler and Mandt, "Improving Inference for Neural
Image Compression", 2020, arXiv:2006.04240). Decoding is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from omnicodec.models.image.context import bits
from omnicodec.models.image.rate import PEAK, ImageRate, weight_of

Estimate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Rounded latents `(1, C, h, w)` and quality `(1,)` to means and scales of the same shape."""

RATE: Final = 0.03
"""The first step down the gradient, in steps of the quantizer; it falls to a tenth."""

LOOKS: Final = 6
"""Steps after which latents are rounded, to see what they cost and what contexts they make."""


def refined(
    network: ImageRate,
    estimate: Estimate,
    pixels: Tensor,
    latents: Tensor,
    quality: Tensor,
    steps: int,
) -> Tensor:
    """Return better latents for `pixels` `(1, 3, H, W)` than `latents`, still to be rounded.

    The cost is that of training: bits, and squared error weighted by the quality. Latents move
    without being rounded, which finds what need not be coded and was better than gradients
    through the rounding; the best of those seen rounded is returned.
    """
    y = latents.clone().requires_grad_()
    optimizer = torch.optim.Adam([y], RATE, betas=(0.9, 0.99))
    weight = float(weight_of(quality, network.config))
    area = pixels.shape[2] * pixels.shape[3]

    def cost(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        error = (network.render(y, quality).float() - pixels).square().mean() * PEAK**2
        return weight * error * area + bits(y, mean, scale).sum()

    best, least = latents, math.inf
    for step in range(steps + 1):
        if step % LOOKS == 0 or step == steps:
            with torch.no_grad():
                rounded = y.round()
                mean, scale = estimate(rounded, quality)
                seen = float(cost(rounded, mean, scale))
            if seen < least:
                best, least = rounded, seen
        if step == steps:
            break
        optimizer.zero_grad()
        torch.autograd.backward(cost(y, mean, scale))
        optimizer.param_groups[0]["lr"] = RATE * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        optimizer.step()
    return best
