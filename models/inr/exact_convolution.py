"""Convolutions of integers from those of floats, row bands side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from omnicodec.models.inr.bands import in_bands
from omnicodec.models.inr.exact_kernels import Ints, convolve


class Convolution:
    """A convolution without padding, of signals and weights with `bits` fractional bits each.

    Its results have `bits` too, plus `more`.
    """

    def __init__(self, layer: nn.Conv2d, bits: int, *, more: int = 0, relu: bool = False) -> None:
        assert layer.bias is not None
        self.weight = _whole(layer.weight, bits)
        self.bits, self._shift, self._relu = 2 * bits, bits - more, relu
        self._bias = layer.bias.detach().double().numpy(force=True)

    def __call__(self, x: Ints, lost: int = 0, offset: NDArray[Any] | float = 0.0) -> Ints:
        """Return the result of signals that have `lost` bits fewer; `offset` adds to the bias."""
        size = self.weight.shape[2]
        height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
        out = np.empty((self.weight.shape[0], height, width), np.int32)
        bias = np.round((self._bias + offset) * 2.0 ** (self.bits - lost)).astype(np.int32)

        def run(first: int, stop: int) -> None:
            rows = out[:, first:stop]
            convolve(x, self.weight, bias, self._shift, self._relu, first, rows)

        in_bands(run, height)
        return out


def shuffled(phases: Ints) -> Ints:
    """Return planes of four phases each as planes at twice the resolution."""
    channels, height, width = phases.shape
    planes = phases.reshape(channels // 4, 2, 2, height, width).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(planes).reshape(channels // 4, 2 * height, 2 * width)


def _whole(x: Any, bits: int) -> Ints:
    """Return a tensor in integers of so many fractional bits."""
    whole: Ints = np.round(x.detach().double().numpy(force=True) * 2.0**bits).astype(np.int32)
    return np.ascontiguousarray(whole)
