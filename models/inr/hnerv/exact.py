"""The decoder in integers: the same frames on every machine, whatever does the sums.

Embeddings, weights and activations are integers in units of a power of two, carried in float64.
A convolution adds at most 2**14 products up to 2**32, and a bias below 2**43, so that every
partial sum is an integer below 2**53, which float64 holds exactly: the order of a matrix product,
its threads and fused operations do not matter. After each layer sums are scaled by a power of two
and rounded; GELU, and tanh with the step to 8 bits, are tables of integers computed in decimal
arithmetic.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from omnicodec.models.exact.tables import FUNCTIONS
from omnicodec.models.inr.hnerv.integers import FINEST, segments_of, shape_of, unpack
from omnicodec.models.inr.hnerv.shape import Shape

FRACTION: Final = FINEST
"""Fractional bits of activations."""

MOST: Final = 1 << 21
"""Activations are cut to plus or minus this."""

TABLE: Final = 4 << FRACTION
"""Beyond plus or minus 4 GELU is 0 or its input, and pixels are 0 or 255, when rounded."""

_CONTEXT: Final = decimal.Context(prec=25, rounding=ROUND_HALF_EVEN)
_BAND: Final = 1 << 19
"""Numbers that a convolution gathers at once."""


@dataclass(frozen=True)
class Layer:
    """A convolution: weights `(outputs, inputs * k * k)`, biases `(outputs, 1)` in sums' units."""

    weight: Tensor
    bias: Tensor
    fraction: int
    kernel: int
    stride: int


def render(
    values: NDArray[Any],
    extent: Mapping[str, int],
    quality: int,
    frames: range,
    device: str = "cpu",
) -> NDArray[np.uint8]:
    """Return some frames of a clip's row, `(n, H, W, 3)`.

    Integers beyond their range are cut to it. Raises ValueError for a row of another size, and
    for frames that the clip does not have.
    """
    return render_shape(values, shape_of(extent, quality), frames, device)


@torch.inference_mode()
def render_shape(
    values: NDArray[Any], shape: Shape, frames: range, device: str = "cpu"
) -> NDArray[np.uint8]:
    """Return what `render` does, given the shape of the networks."""
    if frames and not (0 <= min(frames) and max(frames) < shape.frames):
        raise ValueError(f"a clip of {shape.frames} frames has no {frames}")
    parts = unpack(values, segments_of(shape))
    layers = _layers(parts, shape, device)
    embeddings, fraction = parts["embeddings"]
    tail, pixels = (torch.from_numpy(table).to(device) for table in (gelu_tail(), pixel_table()))
    out = np.empty((len(frames), shape.height, shape.width, 3), np.uint8)
    for k, frame in enumerate(frames):
        x = torch.from_numpy(embeddings[frame].astype(np.float64)).to(device)
        x = x * 2.0 ** (FRACTION - fraction)
        for layer in layers[:-1]:
            x = _block(x, layer, tail)
        drawn = _picture(x, layers[-1], pixels, shape)
        out[k] = drawn.permute(1, 2, 0).cpu().numpy()
    return out


def _layers(parts: dict[str, tuple[Any, int]], shape: Shape, device: str) -> list[Layer]:
    layers = []
    for k, (_, outputs, kernel, stride) in enumerate(shape.layers()):
        weight, fraction = parts[f"{k}.weight"]
        bias, bias_fraction = parts[f"{k}.bias"]
        scaled = bias * 2.0 ** (FRACTION + fraction - bias_fraction)
        layers.append(
            Layer(
                torch.from_numpy(weight.reshape(outputs, -1).astype(np.float64)).to(device),
                torch.from_numpy(scaled[:, None]).to(device),
                fraction,
                kernel,
                stride,
            )
        )
    return layers


def _block(x: Tensor, layer: Layer, tail: Tensor) -> Tensor:
    """Return activations `(C, h, w)` behind a convolution, a shuffle and GELU."""
    _, height, width = x.shape
    s = layer.stride
    out = x.new_empty(layer.weight.shape[0] // (s * s), height * s, width * s)
    for start, sums in _convolved(x, layer):
        y = sums.clamp_(-MOST, MOST)
        # gelu(x) is max(x, 0) and, of either sign, what it is at -abs(x).
        below = tail[y.abs().clamp_(max=TABLE).to(torch.int64)]
        y = y.clamp_(min=0).add_(below)
        out[:, start * s : (start + y.shape[1]) * s] = F.pixel_shuffle(y, s)
    return out


def _picture(x: Tensor, layer: Layer, pixels: Tensor, shape: Shape) -> Tensor:
    """Return uint8 `(3, H, W)`, without the padding."""
    x = x[:, : shape.height + 1, : shape.width + 1]  # what the kernel's reach of 1 sees
    bands = [
        pixels[sums.clamp_(-TABLE, TABLE).to(torch.int64) + TABLE]
        for _, sums in _convolved(x, layer)
    ]
    return torch.cat(bands, 1)[:, : shape.height, : shape.width]


def _convolved(x: Tensor, layer: Layer) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the rounded sums, in units of activations, of bands of rows.

    The rows of a band are as many as fit a cache. It is a plain matrix product, because
    convolutions of some libraries are computed in ways that round.
    """
    channels, height, width = x.shape
    k = layer.kernel
    wide = F.pad(x, (k // 2,) * 4)
    rows = max(1, _BAND // (channels * k * k * width))
    for start in range(0, height, rows):
        band = wide[None, :, start : start + rows + k - 1]
        columns = F.unfold(band, k)[0]
        sums = torch.addmm(layer.bias, layer.weight, columns)
        sums = sums.mul_(2.0**-layer.fraction).round_()
        yield start, sums.view(layer.weight.shape[0], -1, width)


@cache
def gelu_tail() -> NDArray[np.float64]:
    """Return GELU of 0 and below, down to -4, in units of activations: `(TABLE + 1,)`."""
    gelu = FUNCTIONS["gelu"]
    unit = 1 << FRACTION
    with decimal.localcontext(_CONTEXT):
        found = [int((gelu(Decimal(-n) / unit) * unit).to_integral_value()) for n in range(TABLE)]
    return np.array([*found, 0], np.float64)


@cache
def pixel_table() -> NDArray[np.uint8]:
    """Return the pixel of a sum from -4 to 4, `(2 * TABLE + 1,)`: 255 * (tanh(x) + 1) / 2.

    It follows from where each pixel value begins: half way from the one before it.
    """
    with decimal.localcontext(_CONTEXT):
        begins = [
            (Decimal(2 * v - 1) / Decimal(511 - 2 * v)).ln() / 2 * (1 << FRACTION)
            for v in range(1, 256)
        ]
        first = [int(x.to_integral_value(ROUND_CEILING)) for x in begins]
    return np.searchsorted(first, np.arange(-TABLE, TABLE + 1), "right").astype(np.uint8)
