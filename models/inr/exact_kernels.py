"""Convolutions of 32-bit integers, compiled: rows of pixels become vector instructions.

Sums that leave 32 bits, which only hostile latents bring about, wrap around: the same everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import Integer, kernel

Ints = NDArray[np.int32]


@kernel
def convolve(
    x: Ints, weight: Ints, bias: Ints, shift: Integer, relu: bool, first: Integer, out: Ints
) -> None:
    """Write `(x * weight + bias) >> shift`, rounded, to the rows of `out` `(Co, rows, W)`.

    `x` is `(Ci, H + K - 1, W + K - 1)`, its row `first` the uppermost that the first row of `out`
    sees; `weight` is `(Co, Ci, K, K)` with K of 1, 3 or 5, and `bias` counts as the sums do.
    """
    outputs, inputs, size, _ = weight.shape
    rows, width = out.shape[1:]
    half = np.int32((1 << shift) >> 1)
    for r in range(rows):
        for o in range(outputs):
            y = out[o, r]
            y[:] = bias[o] + half
            for i in range(inputs):
                for a in range(size):
                    row, w = x[i, first + r + a], weight[o, i, a]
                    if size == 5:
                        _five(row, w, y)
                    elif size == 3:
                        _three(row, w, y)
                    else:
                        _one(row, w[0], y)
            for c in range(width):
                y[c] >>= shift
            if relu:
                for c in range(width):
                    y[c] = max(y[c], np.int32(0))


@kernel
def _five(x: Ints, w: Ints, y: Ints) -> None:
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    if w0 == 0 and w1 == 0 and w2 == 0 and w3 == 0 and w4 == 0:
        return
    for c in range(y.shape[0]):
        y[c] += w0 * x[c] + w1 * x[c + 1] + w2 * x[c + 2] + w3 * x[c + 3] + w4 * x[c + 4]


@kernel
def _three(x: Ints, w: Ints, y: Ints) -> None:
    w0, w1, w2 = w[0], w[1], w[2]
    for c in range(y.shape[0]):
        y[c] += w0 * x[c] + w1 * x[c + 1] + w2 * x[c + 2]


@kernel
def _one(x: Ints, w: np.int32, y: Ints) -> None:
    for c in range(y.shape[0]):
        y[c] += w * x[c]
