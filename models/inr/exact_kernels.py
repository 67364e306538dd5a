"""Pictures of 32-bit integers, compiled: rows of pixels become vector instructions.

Sums that leave 32 bits, which only hostile latents bring about, wrap around: the same everywhere.
Arrays are contiguous, as loops over others are ten times slower: so `first` and `stop` say which
rows are to be written, where a slice would.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import Integer, inlined, kernel

Ints = NDArray[np.int32]
Pixels = NDArray[np.uint8]

_TILE: Final = 128
"""Columns that are looked at together, and skipped where all is 0."""


@kernel
def convolve(
    x: Ints, weight: Ints, bias: Ints, shift: Integer, relu: bool,
    first: Integer, stop: Integer, out: Ints,
) -> None:  # fmt: skip
    """Write `(x * weight + bias) >> shift`, rounded, to rows of `out` `(Co, H, W)`.

    `x` is `(Ci, H + K - 1, W + K - 1)`; `weight` is `(Co, Ci, K, K)` with K of 1, 3 or 5, and
    `bias` counts as the sums do.
    """
    outputs, _, size, _ = weight.shape
    width = out.shape[2]
    half = np.int32((1 << shift) >> 1)
    for r in range(first, stop):
        for left in range(0, width, _TILE):
            right = min(left + _TILE, width)
            silent = _silent(x, r, r + size, left, right + size - 1)
            for o in range(outputs):
                y = out[o, r, left:right]
                y[:] = bias[o] + half
                if not silent:
                    _add(x, weight[o], r, left, y)
                for c in range(y.size):
                    y[c] >>= shift
                if relu:
                    for c in range(y.size):
                        y[c] = max(y[c], np.int32(0))


@inlined
def _silent(x: Ints, top: Integer, bottom: Integer, left: Integer, right: Integer) -> bool:
    """Return whether a part of all planes is 0, as in most of a residual."""
    for i in range(x.shape[0]):
        for r in range(top, bottom):
            row = x[i, r, left:right]
            some = np.int32(0)
            for c in range(row.size):
                some |= row[c]
            if some != 0:
                return False
    return True


@inlined
def _add(x: Ints, weight: Ints, r: Integer, left: Integer, y: Ints) -> None:
    """Add the products of a row of pixels and a kernel `(Ci, K, K)` to sums."""
    inputs, size, _ = weight.shape
    for i in range(inputs):
        for a in range(size):
            row, w = x[i, r + a, left:], weight[i, a]
            if size == 5:
                _five(row, w, y)
            elif size == 3:
                _three(row, w, y)
            else:
                _one(row, w[0], y)


@inlined
def _five(x: Ints, w: Ints, y: Ints) -> None:
    w0, w1, w2, w3, w4 = w[0], w[1], w[2], w[3], w[4]
    if w0 == 0 and w1 == 0 and w2 == 0 and w3 == 0 and w4 == 0:
        return
    for c in range(y.size):
        y[c] += w0 * x[c] + w1 * x[c + 1] + w2 * x[c + 2] + w3 * x[c + 3] + w4 * x[c + 4]


@inlined
def _three(x: Ints, w: Ints, y: Ints) -> None:
    w0, w1, w2 = w[0], w[1], w[2]
    for c in range(y.size):
        y[c] += w0 * x[c] + w1 * x[c + 1] + w2 * x[c + 2]


@inlined
def _one(x: Ints, w: np.int32, y: Ints) -> None:
    for c in range(y.size):
        y[c] += w * x[c]


@kernel
def scale(y: Ints, steps: NDArray[np.int64], lost: Integer, most: Integer, out: Ints) -> None:
    """Write each plane times its step without the last `lost` bits, cut to plus or minus `most`."""
    half = np.int64((1 << lost) >> 1)
    for k in range(y.shape[0]):
        for r in range(y.shape[1]):
            row, to = y[k, r], out[k, r]
            for c in range(row.size):
                to[c] = min(max((row[c] * steps[k] + half) >> lost, -most), most)


@kernel
def extend(
    picture: Ints, bands: Ints, rows: NDArray[np.intp], columns: NDArray[np.intp], out: Ints
) -> None:
    """Write a small picture and the bands of all colours, by kind, with 2 more on all sides.

    `rows` and `columns` `(2, ...)` tell where samples come from, of low and of high bands.
    """
    pictures, kinds = picture.shape[0], 3
    _, height, width = picture.shape
    for k in range(out.shape[0]):
        kind, colour = 0, k
        if k >= pictures:
            kind, colour = divmod(k - pictures, bands.shape[0] // kinds)
            kind += 1
        source = picture[k] if kind == 0 else bands[kinds * colour + kind - 1]
        across = columns[kind & 1]
        for r in range(height + 4):
            row, to = source[rows[kind >> 1, r]], out[k, r]
            for c in range(width):
                to[2 + c] = row[c]
            for c in (0, 1, width + 2, width + 3):
                to[c] = row[across[c]]


@kernel
def shuffle(phases: Ints, out: Ints) -> None:
    """Write planes of four phases each as planes at twice the resolution."""
    for r in range(out.shape[1]):
        _shuffle(phases, r, out[:, r])


@inlined
def _shuffle(phases: Ints, r: Integer, out: Ints) -> None:
    """Write a row of all planes, `(C, W)`."""
    for k in range(out.shape[0]):
        first = 4 * k + 2 * (r & 1)
        even, odd, to = phases[first, r >> 1], phases[first + 1, r >> 1], out[k]
        for c in range(even.size):
            to[2 * c] = even[c]
            to[2 * c + 1] = odd[c]


class Colours(NamedTuple):
    """What makes pixels of three planes: `(planes * weight + bias) >> shift`, rounded.

    Then times `white`, and `bits` are cut, rounded. `weight` is `(3, 3)`.
    """

    weight: Ints
    bias: Ints
    shift: int
    white: int
    bits: int


@kernel
def paint(phases: Ints, colours: Colours, first: Integer, stop: Integer, out: Ints) -> None:
    """Write rows of pixels `(H, 3 * W)`, channels side by side, of planes in four phases."""
    planes = np.empty((3, 2 * phases.shape[2]), np.int32)
    for r in range(first, stop):
        _paint(phases, r, colours, planes, out[r])


@kernel
def correct(
    phases: Ints, colours: Colours, first: Integer, stop: Integer, under: Pixels, out: Pixels
) -> None:
    """Write rows of the sum of a picture and of what is under it, cut to 0 to 255.

    The picture may have more rows and columns.
    """
    planes = np.empty((3, 2 * phases.shape[2]), np.int32)
    line = np.empty(3 * planes.shape[1], np.int32)
    for r in range(first, stop):
        _paint(phases, r, colours, planes, line)
        row, to = under[r], out[r]
        for i in range(row.size):
            to[i] = min(max(row[i] + line[i], 0), 255)


@inlined
def _paint(phases: Ints, r: Integer, colours: Colours, planes: Ints, out: Ints) -> None:
    _shuffle(phases, r, planes)
    x, y, z = planes[0], planes[1], planes[2]
    most = np.int32((1 << colours.shift) >> 1)
    half = np.int32((1 << colours.bits) >> 1)
    for k in range(3):
        a, b, c = colours.weight[k]
        d = np.int32(colours.bias[k] + most)
        for i in range(x.size):
            v = np.int32(a * x[i] + b * y[i] + c * z[i] + d) >> colours.shift
            out[3 * i + k] = np.int32(v * colours.white + half) >> colours.bits
