"""Quantizers: real vectors to codebook indices, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FSQ(nn.Module):
    """Finite scalar quantization: each channel is rounded to one of a few levels.

    After "Finite Scalar Quantization: VQ-VAE Made Simple" (Mentzer et al. 2023,
    arXiv:2309.15505). The codebook is the product of the levels, so no entry can die and
    there is nothing to learn. Vectors are `(B, D, H, W)`, indices `(B, H, W)` with the
    first channel as the least significant digit.
    """

    levels: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.codebook_size = math.prod(levels)
        places = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("places", torch.tensor(places).view(1, -1, 1, 1), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """Return the quantized vectors in -1 to 1; gradients pass straight through."""
        bounded = self._bound(z)
        return self._scale(bounded + (bounded.round() - bounded).detach())

    def indices(self, z: Tensor) -> Tensor:
        """Return the codebook index of each vector."""
        digits = self._bound(z).round().to(torch.int64)
        return (digits * self.places).sum(1)

    def vectors(self, indices: Tensor) -> Tensor:
        """Return the quantized vectors of indices in 0 to `codebook_size` - 1."""
        digits = indices[:, None] // self.places % self.levels
        return self._scale(digits.float())

    def _bound(self, z: Tensor) -> Tensor:
        return torch.sigmoid(z.float()) * (self.levels - 1)

    def _scale(self, digits: Tensor) -> Tensor:
        return digits * (2 / (self.levels - 1)) - 1


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """Return `x` drawn towards the integers: itself at high temperatures, rounded at low ones.

    After Agustsson and Theis, "Universally Quantized Neural Compression" (2020,
    arXiv:2006.09952).
    """
    low = x.floor()
    middle = x - low - 0.5
    return low + 0.5 + 0.5 / math.tanh(0.5 / temperature) * torch.tanh(middle / temperature)
