"""The lapped orthogonal transform that the networks of `image/rate` start from.

After Malvar and Staelin, "The LOT: Transform Coding Without Blocking Effects" (1989): basis
functions of twice the block's length overlap their neighbours' and still form an orthonormal
basis, so edges of blocks do not show and smooth regions need fewer coefficients.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# From red, green, blue to grey and two differences: orthonormal, and close to the principal
# axes of photographs.
COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])


def lapped_basis(size: int, correlation: float = 0.95) -> Array:
    """Return the functions of one axis as rows, `(size, 2 * size)`, for an even `size`.

    Row k is symmetric about its middle for even k and antisymmetric for odd k. Among such
    bases it is the one of largest coding gain for a signal of this correlation of neighbours.
    """
    n = np.arange(size)
    dct = np.sqrt(2 / size) * np.cos(np.pi * (n + 0.5) * n[:, None] / size)
    dct[0] /= np.sqrt(2)
    even, odd = dct[0::2], dct[1::2]
    left = (even - odd) / 2  # the even functions fade in where the odd ones go against them
    right = left[:, ::-1]
    symmetric = np.hstack([left, right])
    antisymmetric = np.hstack([left, -right])
    lag = np.arange(2 * size)
    covariance = correlation ** np.abs(lag[:, None] - lag)
    basis = np.empty((size, 2 * size))
    basis[0::2] = _principal(symmetric, covariance)
    basis[1::2] = _principal(antisymmetric, covariance)
    return basis


def lapped_kernels(size: int) -> Array:
    """Return all functions over a picture, `(3 * size**2, 3, 2 * size, 2 * size)`.

    Their order is colour, row frequency, column frequency.
    """
    basis = lapped_basis(size)
    kernels = np.einsum("kc,iy,jx->kijcyx", COLOURS, basis, basis)
    flat: Array = kernels.reshape(3 * size * size, 3, 2 * size, 2 * size)
    return flat


def _principal(functions: Array, covariance: Array) -> Array:
    """Return the rows turned to their principal axes, largest variance first."""
    _, axes = np.linalg.eigh(functions @ covariance @ functions.T)
    turned: Array = axes[:, ::-1].T @ functions
    # The sign of an eigenvector is free: the first half of each function sums to above 0.
    signs = np.sign(turned[:, : turned.shape[1] // 2].sum(1))
    return turned * np.where(signs == 0, 1, signs)[:, None]
