"""Bits of a plane's latents, and their gradient, in one compiled pass.

Autograd would write the contexts of all latents to memory, layer by layer; here a block of 64
positions stays in the cache from its contexts to their gradient. The lengths of the inner loops
are constants, so that they become vector instructions.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.pyramid import SIZES_AROUND
from omnicodec.models.kernels import Integer, float_kernel

Floats = NDArray[np.float32]

# Row and column of the known neighbours in a plane: two rows above, two columns beside.
NEIGHBOURS: Final = np.array(
    [
        (-1, 0), (0, -1), (-1, -1), (-1, 1), (-2, 0), (0, -2),
        (-1, -2), (-1, 2), (-2, -1), (-2, 1), (-2, -2), (-2, 2),
    ]
)  # fmt: skip
KNOWN: Final = len(NEIGHBOURS)
REACH: Final = 2

AROUND: Final = 1 + SIZES_AROUND
"""Contexts from other planes: see `arm.around`."""

INPUTS: Final = KNOWN + AROUND
HIDDEN: Final = 16
BLOCK: Final = 64

LEAST: Final = 0.06
RATIO: Final = 1.2533
"""A Laplace distribution of class c has the scale `LEAST * RATIO**c`; c need not be whole."""

CLASSES: Final = 40

_LOG_LEAST: Final = np.float32(np.log(LEAST))
_LOG_RATIO: Final = np.float32(np.log(RATIO))
_HALF: Final = np.float32(0.5)
_ONE: Final = np.float32(1)
_ZERO: Final = np.float32(0)
_LAST: Final = np.float32(CLASSES - 1)


class Weights(NamedTuple):
    """The layers of a network: `(HIDDEN, INPUTS)`, `(HIDDEN, HIDDEN)`, `(2, HIDDEN + INPUTS)`.

    The last one sees the second hidden layer and the contexts.
    """

    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    last: Floats
    last_bias: Floats


@float_kernel
def bits_and_gradient(
    wide: Floats,
    around: Floats,
    w: Weights,
    first_row: Integer,
    rows: Integer,
    g_wide: Floats,
    g_around: Floats,
    g: Weights,
) -> float:
    """Return the bits (in nats) of some rows of a plane, and add up all gradients.

    `wide` is `(h + 2, width + 4)`: the plane with zeros above and beside it; `around` is
    `(AROUND, h, width)`. Gradients are of the same shapes.
    """
    width = around.shape[2]
    z = np.zeros((HIDDEN + INPUTS, BLOCK), np.float32)
    second, x = z[:HIDDEN], z[HIDDEN:]
    first = np.zeros((HIDDEN, BLOCK), np.float32)
    out = np.zeros((2, BLOCK), np.float32)
    g_out = np.zeros((2, BLOCK), np.float32)
    g_z = np.zeros((HIDDEN + INPUTS, BLOCK), np.float32)
    g_first = np.zeros((HIDDEN, BLOCK), np.float32)
    g_x = np.zeros((INPUTS, BLOCK), np.float32)
    total = 0.0
    for r in range(first_row, first_row + rows):
        for start in range(0, width, BLOCK):
            n = min(BLOCK, width - start)
            _gather(wide, around, r, start, n, x)
            _affine(w.first, w.first_bias, x, first)
            _relu(first)
            _affine(w.second, w.second_bias, first, second)
            _relu(second)
            _affine(w.last, w.last_bias, z, out)
            total += _laplace(wide, r, start, n, out, g_out, g_wide)
            _back(w.last, g_out, g_z)
            _outer(g_out, z, g.last, g.last_bias)
            g_second = g_z[:HIDDEN]
            _gate(second, g_second)
            _back(w.second, g_second, g_first)
            _outer(g_second, first, g.second, g.second_bias)
            _gate(first, g_first)
            _back(w.first, g_first, g_x)
            _outer(g_first, x, g.first, g.first_bias)
            g_x += g_z[HIDDEN:]
            _scatter(g_x, r, start, n, g_wide, g_around)
    return total


@float_kernel
def _gather(
    wide: Floats, around: Floats, r: Integer, start: Integer, n: Integer, x: Floats
) -> None:
    for k in range(KNOWN):
        row, column = r + REACH + NEIGHBOURS[k, 0], start + REACH + NEIGHBOURS[k, 1]
        for i in range(n):
            x[k, i] = wide[row, column + i]
    for k in range(AROUND):
        for i in range(n):
            x[KNOWN + k, i] = around[k, r, start + i]


@float_kernel
def _scatter(
    g_x: Floats, r: Integer, start: Integer, n: Integer, g_wide: Floats, g_around: Floats
) -> None:
    for k in range(KNOWN):
        row, column = r + REACH + NEIGHBOURS[k, 0], start + REACH + NEIGHBOURS[k, 1]
        for i in range(n):
            g_wide[row, column + i] += g_x[k, i]
    for k in range(AROUND):
        for i in range(n):
            g_around[k, r, start + i] = g_x[KNOWN + k, i]


@float_kernel
def _affine(w: Floats, bias: Floats, x: Floats, y: Floats) -> None:
    for j in range(w.shape[0]):
        for i in range(BLOCK):
            y[j, i] = bias[j]
        for k in range(w.shape[1]):
            v = w[j, k]
            for i in range(BLOCK):
                y[j, i] += v * x[k, i]


@float_kernel
def _back(w: Floats, g_y: Floats, g_x: Floats) -> None:
    for k in range(w.shape[1]):
        for i in range(BLOCK):
            g_x[k, i] = _ZERO
        for j in range(w.shape[0]):
            v = w[j, k]
            for i in range(BLOCK):
                g_x[k, i] += v * g_y[j, i]


@float_kernel
def _outer(g_y: Floats, x: Floats, g_w: Floats, g_bias: Floats) -> None:
    for j in range(g_w.shape[0]):
        total = _ZERO
        for i in range(BLOCK):
            total += g_y[j, i]
        g_bias[j] += total
        for k in range(g_w.shape[1]):
            total = _ZERO
            for i in range(BLOCK):
                total += g_y[j, i] * x[k, i]
            g_w[j, k] += total


@float_kernel
def _relu(x: Floats) -> None:
    for j in range(x.shape[0]):
        for i in range(BLOCK):
            x[j, i] = max(x[j, i], _ZERO)


@float_kernel
def _gate(x: Floats, g: Floats) -> None:
    for j in range(x.shape[0]):
        for i in range(BLOCK):
            g[j, i] = g[j, i] if x[j, i] > _ZERO else _ZERO


@float_kernel
def _laplace(
    wide: Floats, r: Integer, start: Integer, n: Integer, out: Floats, g_out: Floats, g_wide: Floats
) -> Any:
    """Return the nats of a block: each latent's share of its distribution, half a step around it.

    Gradients go to the latents, and to means and classes, rows of `out`.
    """
    total = _ZERO
    for i in range(BLOCK):
        g_out[0, i], g_out[1, i] = _ZERO, _ZERO
    for i in range(n):
        which = min(max(out[1, i], _ZERO), _LAST)
        inverse = np.exp(-(_LOG_LEAST + which * _LOG_RATIO))
        d = wide[r + REACH, start + REACH + i] - out[0, i]
        a = abs(d)
        if a >= _HALF:
            e = np.exp(-inverse)
            rest = _ONE - e
            total += (a - _HALF) * inverse - np.log(_HALF * rest)
            g_a = inverse
            g_log = -(a - _HALF) * inverse + e * inverse / rest
        else:
            e1, e2 = np.exp(-(_HALF - a) * inverse), np.exp(-(_HALF + a) * inverse)
            share = _ONE - _HALF * (e1 + e2)
            total -= np.log(share)
            g_a = _HALF * (e1 - e2) * inverse / share
            g_log = _HALF * (e1 * (_HALF - a) + e2 * (_HALF + a)) * inverse / share
        g_d = g_a if d > _ZERO else -g_a
        g_out[0, i] = -g_d
        # Outside of the classes only what leads back has a gradient.
        inside = which == out[1, i] or (which == _ZERO) == (g_log < _ZERO)
        g_out[1, i] = g_log * _LOG_RATIO if inside else _ZERO
        g_wide[r + REACH, start + REACH + i] += g_d
    return total
