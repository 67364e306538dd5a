"""Convolutions of integers from those of floats, row bands side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from omnicodec.models.inr.bands import in_bands
from omnicodec.models.inr.exact_kernels import (
    Colours,
    Ints,
    Pixels,
    convolve,
    correct,
    paint,
    scale,
    shuffle,
)


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
            convolve(x, self.weight, bias, self._shift, self._relu, first, stop, out)

        in_bands(run, height)
        return out

    def colours(self, white: int, bits: int) -> Colours:
        """Return a convolution of 1x1 as what makes pixels of three planes."""
        bias = np.round(self._bias * 2.0**self.bits).astype(np.int32)
        return Colours(self.weight[:, :, 0, 0].copy(), bias, self._shift, white, bits)


def painted(phases: Ints, colours: Colours) -> Ints:
    """Return the pixels `(H, W, 3)` of three planes in four phases, not cut to their range."""
    height, width = 2 * phases.shape[1], 2 * phases.shape[2]
    out = np.empty((height, 3 * width), np.int32)
    in_bands(lambda first, stop: paint(phases, colours, first, stop, out), height)
    return out.reshape(height, width, 3)


def painted_over(pixels: Pixels, phases: Ints, colours: Colours) -> Pixels:
    """Return the sum of pixels `(H, W, 3)` and a picture, which may be larger, cut to 0 to 255."""
    height, width, _ = pixels.shape
    under = np.require(pixels.reshape(height, 3 * width), np.uint8, ["C", "W"])
    out = np.empty_like(under)
    in_bands(lambda first, stop: correct(phases, colours, first, stop, under, out), height)
    return out.reshape(pixels.shape)


def signals(y: Ints, steps: NDArray[Any], lost: int, most: int) -> Ints:
    """Return planes times their steps, without the last bits, cut to plus or minus `most`."""
    out = np.empty(y.shape, np.int32)
    scale(np.ascontiguousarray(y), np.asarray(steps, np.int64), lost, most, out)
    return out


def shuffled(phases: Ints) -> Ints:
    """Return planes of four phases each as planes at twice the resolution."""
    channels, height, width = phases.shape
    out = np.empty((channels // 4, 2 * height, 2 * width), np.int32)
    shuffle(phases, out)
    return out


def _whole(x: Any, bits: int) -> Ints:
    """Return a tensor in integers of so many fractional bits."""
    whole: Ints = np.round(x.detach().double().numpy(force=True) * 2.0**bits).astype(np.int32)
    return np.ascontiguousarray(whole)
