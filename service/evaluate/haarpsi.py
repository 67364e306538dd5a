"""HaarPSI: how alike two pictures look, from Haar wavelets; it needs no trained network."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

HAARPSI_SIDE: Final = 16
"""The shortest side in pixels that is measured: one coarsest wavelet at half the scale."""

# In the order luma, I and Q, of red, green and blue.
_YIQ: Final = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
_C: Final = 30.0
_ALPHA: Final = 4.2

Plane = NDArray[np.float64]


def haarpsi(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> float | None:
    """Return the Haar wavelet-based perceptual similarity of two uint8 `(H, W, 3)` pictures.

    1 for equal pictures, towards 0 for unlike ones; None where a side is under 16 pixels or
    both pictures are all black. After Reisenhofer, Bosse, Kutyniok and Wiegand, "A Haar
    wavelet-based perceptual similarity index for image quality assessment" (2018), with its
    constants C = 30 and alpha = 4.2, at half the scale as proposed there.
    """
    if min(original.shape[:2]) < HAARPSI_SIDE:
        return None
    (y0, i0, q0), (y1, i1, q1) = _yiq(original), _yiq(decoded)
    similarities, weights = [], []
    for axis in range(2):
        fine = [
            _similarity(_haar(y0, scale, axis), _haar(y1, scale, axis)) for scale in range(1, 3)
        ]
        similarities.append((fine[0] + fine[1]) / 2)
        weights.append(np.maximum(_haar(y0, 3, axis), _haar(y1, 3, axis)))
    colour = [_similarity(_smooth(a), _smooth(b)) for a, b in ((i0, i1), (q0, q1))]
    similarities.append((colour[0] + colour[1]) / 2)
    weights.append((weights[0] + weights[1]) / 2)
    total = sum(float(w.sum()) for w in weights)
    if total == 0:
        return None
    mean = sum(
        float((w / (1 + np.exp(-_ALPHA * s))).sum())
        for s, w in zip(similarities, weights, strict=True)
    )
    share = mean / total
    return min(1.0, (math.log(share / (1 - share)) / _ALPHA) ** 2)


def _yiq(pixels: NDArray[np.uint8]) -> tuple[Plane, Plane, Plane]:
    """Return luma and colour at half the scale, 0 beyond an odd last row or column."""
    height, width = (n + n % 2 for n in pixels.shape[:2])
    whole = np.zeros((height, width, 3))
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    half = (whole[::2, ::2] + whole[1::2, ::2] + whole[::2, 1::2] + whole[1::2, 1::2]) / 4
    y, i, q = (half @ np.array(row) for row in _YIQ)
    return y, i, q


def _haar(plane: Plane, scale: int, axis: int) -> Plane:
    """Return magnitudes of the wavelet of 2^scale pixels a side that differs along `axis`.

    Of the same shape as `plane`, with zeros around it.
    """
    size = 1 << scale
    half = size // 2
    x = np.pad(plane, (half - 1, half))
    for direction in range(2):
        # Sums over `half` pixels; then, across the edge, of two of them, or their difference.
        for doubling in range(scale - 1):
            x = _shifted(x, 1 << doubling, direction, 1)
        x = _shifted(x, half, direction, -1 if direction == axis else 1)
    magnitude: Plane = np.abs(x) / size
    return magnitude


def _shifted(x: Plane, step: int, axis: int, sign: int) -> Plane:
    """Return each value plus or minus the one `step` further along `axis`."""
    first = x[:-step] if axis == 0 else x[:, :-step]
    second = x[step:] if axis == 0 else x[:, step:]
    return first + second if sign > 0 else first - second


def _smooth(plane: Plane) -> Plane:
    """Return the magnitude of means over 2x2 pixels, zeros below and to the right."""
    x = _shifted(_shifted(np.pad(plane, (0, 1)), 1, 0, 1), 1, 1, 1)
    magnitude: Plane = np.abs(x) / 4
    return magnitude


def _similarity(a: Plane, b: Plane) -> Plane:
    found: Plane = (2 * a * b + _C) / (a * a + b * b + _C)
    return found
