"""Tables of Laplace distributions for `rans`, as they are shipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.rans import BUCKETS, FRACTIONS, SYMBOLS, TOTAL

_WITHIN = 6.0
"""How many scales from the mean a table reaches."""


def laplace_tables(scales: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return frequencies `(classes, 8, 33)` and shifts `(classes,)` for scales `(classes,)`.

    Made once and stored: a logarithm may differ in its last bit elsewhere.
    """
    reach = BUCKETS // 2
    shifts = np.maximum(0, np.ceil(np.log2(_WITHIN * scales / reach))).astype(np.int64)
    frequencies = np.empty((scales.size, FRACTIONS, SYMBOLS), np.int32)
    for k, (scale, shift) in enumerate(zip(scales, shifts, strict=True)):
        for fraction in range(FRACTIONS):
            mean = (fraction - FRACTIONS // 2) / FRACTIONS
            edges = np.arange(-reach, reach + 1) * 2.0**shift - 0.5 - mean
            tail = 0.5 * np.exp(-np.abs(edges) / scale)
            below = np.where(edges < 0, tail, 1 - tail)
            shares = np.append(np.diff(below), 1 - (below[-1] - below[0]))
            frequencies[k, fraction] = _whole(shares)
    return frequencies, shifts


def _whole(shares: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return frequencies of at least 1 that add up to `TOTAL`."""
    found = np.maximum(1, np.floor(shares * (TOTAL - SYMBOLS))).astype(np.int32)
    found[np.argmax(found)] += TOTAL - found.sum()
    return found
