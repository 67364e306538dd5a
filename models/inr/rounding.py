"""Quantization that has gradients, from soft at the beginning of a fit to hard at its end.

Soft rounding with noise is that of Agustsson and Theis 2020, see `quantizers.soft_round`; the
noise is distributed after Kumaraswamy, as in C3 (Kim et al. 2024, arXiv:2312.02753).
"""

from __future__ import annotations

import torch
from torch import Tensor

from omnicodec.models.quantizers import soft_round


def noise(like: Tensor, sharpness: float, generator: torch.Generator | None = None) -> Tensor:
    """Return noise in -1/2 to 1/2 with its mode at 0: uniform for 1, narrower for more."""
    other = (2**sharpness * (sharpness - 1) + 1) / sharpness
    uniform = torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)
    return (1 - (1 - uniform) ** (1 / other)) ** (1 / sharpness) - 0.5


def noisy(
    x: Tensor, temperature: float, sharpness: float, generator: torch.Generator | None = None
) -> Tensor:
    """Return latents as a fit sees them for most of its time."""
    spread = noise(x, sharpness, generator)
    return soft_round(soft_round(x, temperature) + spread, temperature)


def straight_through(x: Tensor, temperature: float) -> Tensor:
    """Return latents rounded, with the gradient of soft rounding."""
    soft = soft_round(x, temperature)
    return soft + (x.round() - soft).detach()
