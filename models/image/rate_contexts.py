"""What the exact prior of `image/rate` sees of latents that are known already: integers only.

A chunk is positions `start` to `start + n` of a picture's grid in raster order, with C latents
at each. Neighbours outside of the chunk are unknown. The same loops make the inputs for
training, encoding and decoding.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import Integer, kernel

FRACTION: Final = 4
"""Fractional bits of all inputs and of hidden values."""

FIRST: Final = 6
"""Channels of the first group, which is coded position by position."""

QUALITIES: Final = 5
"""Inputs that say a quality, hats around 0, 25, ... 100."""

CLASSES: Final = 21
"""Qualities that a chunk can name: 0, 5, ... 100."""

LARGEST: Final = (2047, 511)
"""Largest latents, of the first group and of the others."""

_KNOWN: Final = 16
"""The input of what is there, 1.0."""

# Left, above left, above, above right; then two to the left and two above.
_AROUND_Y: Final = np.array([0, -1, -1, -1, 0, -2])
_AROUND_X: Final = np.array([-1, -1, 0, 1, -2, 0])

FIRST_INPUTS: Final = -(-(6 * FIRST + QUALITIES + 6) // 8) * 8
PREDICTORS: Final = 4 * FIRST
"""Latents that the linear prediction of the first group is made of."""

PREDICTION_BITS: Final = 12
"""Fractional bits of the linear prediction's coefficients."""

MAX_MEAN: Final = 8 * LARGEST[0]
"""Means, in eighths, are cut to this."""


def _companded() -> NDArray[np.int8]:
    """Return `round(16 * log2(1 + a))` for 0 <= a < 4096, at most 127, by integer arithmetic.

    It is the largest e with `(1 + a)**32 >= 2**(2 * e - 1)`.
    """
    sizes = [min(127, ((1 + a) ** 32).bit_length() // 2) for a in range(2 * LARGEST[0] + 2)]
    return np.array(sizes, np.int8)


COMPANDED: Final = _companded()


def group_inputs(known: int, own: int) -> int:
    """Return the inputs of a group of `own` channels above `known` others, a multiple of 8."""
    return -(-(9 * (known + own) + QUALITIES + 1 + 9) // 8) * 8


def quality_inputs(quality: float) -> NDArray[np.int8]:
    """Return the inputs of a quality, 0 to 100: `round(64 * hat)`; 5 of them, int8."""
    steps = round(quality * 100)  # integers from here on
    hats = np.maximum(0, 2500 - np.abs(steps - 2500 * np.arange(QUALITIES)))
    inputs: NDArray[np.int8] = ((128 * hats + 2500) // 5000).astype(np.int8)
    return inputs


@kernel
def compand(x: Integer) -> Integer:
    """Return about `16 * log2(1 + |x|)` with the sign of x, -127 to 127."""
    size = np.int64(COMPANDED[min(abs(x), len(COMPANDED) - 1)])
    return size if x >= 0 else -size


@kernel
def compand_all(y: NDArray[np.int16], e: NDArray[np.int8]) -> None:
    """Compand latents `(n, C)`."""
    for p in range(y.shape[0]):
        for c in range(y.shape[1]):
            e[p, c] = np.int8(compand(np.int64(y[p, c])))


@kernel
def predict_first(
    y: NDArray[np.int16],
    p: Integer,
    start: Integer,
    width: Integer,
    coefficients: NDArray[np.int32],
    quality: NDArray[np.int8],
    mean: NDArray[np.int64],
    x: NDArray[np.int32],
) -> None:
    """Predict the first group at position `p` of a chunk from positions before it.

    `y` is int16 `(n, C)`. `coefficients` `(24, 6)`, int32 in 1/4096, weigh the latents to the
    left, above left, above and above right; of these, what is unknown is what the nearest known
    one is, or 0. Sets `mean` `(6,)`, in eighths, and the network's inputs `x` `(FIRST_INPUTS,)`:
    companded differences of six neighbours from the mean, quality, and which are known.
    """
    column = (start + p) % width
    known = np.zeros(6, np.bool_)
    for j in range(6):
        side = column + _AROUND_X[j]
        q = p + _AROUND_Y[j] * width + _AROUND_X[j]
        known[j] = 0 <= side < width and q >= 0
    left, corner, above, right = p - 1, p - width - 1, p - width, p - width + 1
    if not known[2]:
        above = left if known[0] else (right if known[3] else np.int64(-1))
    if not known[0]:
        left = above
    if not known[1]:
        corner = above
    if not known[3]:
        right = above
    sums = np.zeros(FIRST, np.int64)
    if left >= 0:
        for j in range(4):
            q = left if j == 0 else (corner if j == 1 else (above if j == 2 else right))
            for k in range(FIRST):
                value = np.int64(y[q, k])
                for c in range(FIRST):
                    sums[c] += value * coefficients[FIRST * j + k, c]
    for c in range(FIRST):
        mean[c] = min(max((sums[c] + (1 << (PREDICTION_BITS - 4))) >> (PREDICTION_BITS - 3),
                          -MAX_MEAN), MAX_MEAN)  # fmt: skip
    for j in range(6):
        q = p + _AROUND_Y[j] * width + _AROUND_X[j]
        for c in range(FIRST):
            x[FIRST * j + c] = compand(np.int64(y[q, c]) - ((mean[c] + 4) >> 3)) if known[j] else 0
        x[6 * FIRST + QUALITIES + j] = _KNOWN if known[j] else 0
    for k in range(QUALITIES):
        x[6 * FIRST + k] = quality[k]
    for k in range(6 * FIRST + QUALITIES + 6, x.size):
        x[k] = 0


@kernel
def first_inputs(
    y: NDArray[np.int16],
    start: Integer,
    width: Integer,
    coefficients: NDArray[np.int32],
    quality: NDArray[np.int8],
    means: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Run `predict_first` at every position: `means` `(n, 6)`, `out` `(n, FIRST_INPUTS)`."""
    for p in range(y.shape[0]):
        predict_first(y, p, start, width, coefficients, quality, means[p], out[p])


@kernel
def positions_of(start: Integer, width: Integer, half: Integer, out: NDArray[np.int64]) -> Integer:
    """List the positions of a chunk whose row and column add up to an even or odd number.

    `half` is 0 or 1, `out` has room for all positions of the chunk. Returns how many there are.
    """
    count = 0
    for p in range(out.size):
        row, column = (start + p) // width, (start + p) % width
        if (row + column) & 1 == half:
            out[count] = p
            count += 1
    return count


@kernel
def gather(
    y: NDArray[np.int16],
    e: NDArray[np.int8],
    positions: NDArray[np.int64],
    start: Integer,
    width: Integer,
    known: Integer,
    stop: Integer,
    quality: NDArray[np.int8],
    out: NDArray[np.int8],
) -> None:
    """Put what a group's network sees at each of the positions into `out` `(m, inputs)`, int8.

    `y` are the chunk's latents `(n, C)` and `e` the same companded. The group is channels
    `known` to `stop`. Nine neighbours in raster order, the position itself in the middle, have
    `stop` entries each: channels below `known`, of which the first group are differences from
    the position's own, then the group where the neighbour is of the half before. Then quality,
    half, which neighbours are in the chunk, zeros.
    """
    n = y.shape[0]
    for i in range(positions.size):
        p = positions[i]
        row, column = (start + p) // width, (start + p) % width
        half = (row + column) & 1
        x = out[i]
        flags = 9 * stop + QUALITIES + 1
        for j in range(9):
            up, side = j // 3 - 1, j % 3 - 1
            q = p + up * width + side
            part = x[j * stop : (j + 1) * stop]
            if not (0 <= column + side < width and 0 <= q < n):
                part[:] = 0
                x[flags + j] = 0
                continue
            x[flags + j] = _KNOWN
            seen = e[q]
            for c in range(FIRST, known):
                part[c] = seen[c]
            if j == 4:
                for c in range(FIRST):
                    part[c] = seen[c]
            else:
                for c in range(FIRST):
                    part[c] = np.int8(compand(np.int64(y[q, c]) - np.int64(y[p, c])))
            if half == 1 and j & 1 == 1:  # the four beside it
                for c in range(known, stop):
                    part[c] = seen[c]
            else:
                part[known:stop] = 0
        for k in range(QUALITIES):
            x[9 * stop + k] = quality[k]
        x[9 * stop + QUALITIES] = _KNOWN * half
        x[flags + 9 :] = 0
