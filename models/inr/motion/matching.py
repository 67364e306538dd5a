"""How well a block is predicted: squared differences over all channels, and bits of vectors."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.motion.field import LARGEST
from omnicodec.models.inr.motion.interpolation import FRACTION, Room, interpolate
from omnicodec.models.kernels import Integer, kernel

Pixels = NDArray[np.uint8]

_BITS: Final = np.concatenate([[1.0], 2.5 + 2 * np.log2(np.arange(1, 2 * LARGEST + 1))])
"""Of each of the two differences between a vector and what was predicted for it, about."""

SAME_BITS: Final = 0.3
"""Of a vector that is as predicted."""

SPLIT_BITS: Final = 4.0
MODE_BITS: Final = 1.5
"""Of a mode that the neighbours do not have."""


@kernel
def vector_bits(down: Integer, across: Integer) -> Any:
    """Return about how many bits the difference of a vector from its prediction takes."""
    if down == 0 and across == 0:
        return SAME_BITS
    return _BITS[abs(down)] + _BITS[abs(across)]


@kernel
def moved(
    here: Pixels, there: Pixels, top: Integer, left: Integer, height: Integer, width: Integer,
    down: Integer, across: Integer, room: Room, out: NDArray[np.int32],
) -> Integer:  # fmt: skip
    """Return the squared difference of a block to one of a reference, moved by a vector.

    `out` is set to the latter, but not by whole pixels within the frame.
    """
    y, x = top + (down >> 2), left + (across >> 2)
    inside = y >= 0 and y + height <= there.shape[0]
    inside &= x >= 0 and 3 * (x + width) <= there.shape[1]
    if inside and down & 3 == 0 and across & 3 == 0:
        total: Integer = 0
        for r in range(height):
            a, b = here[top + r, 3 * left :], there[y + r, 3 * x :]
            part: Integer = np.int32(0)
            for i in range(3 * width):
                d = np.int32(a[i]) - np.int32(b[i])
                part += np.int32(d * d)
            total += part
        return total
    interpolate(there, top, left, height, width, down, across, room, out)
    return difference(here, top, left, height, width, out)


@kernel
def difference(
    here: Pixels, top: Integer, left: Integer, height: Integer, width: Integer,
    block: NDArray[np.int32],
) -> Integer:  # fmt: skip
    """Return the squared difference of a block to 4096 times its prediction."""
    total: Integer = 0
    for r in range(height):
        a, b = here[top + r, 3 * left :], block[r]
        part: Integer = np.int32(0)
        for i in range(3 * width):
            v: Integer = np.int32(b[i] + (1 << 2 * FRACTION - 1)) >> 2 * FRACTION
            d = np.int32(min(max(v, 0), 255)) - np.int32(a[i])
            part += np.int32(d * d)
        total += part
    return total


@kernel
def mean_difference(
    here: Pixels, top: Integer, left: Integer, height: Integer, width: Integer,
    first: NDArray[np.int32], second: NDArray[np.int32],
) -> Integer:  # fmt: skip
    """Return the squared difference of a block to the mean of two predictions."""
    total: Integer = 0
    for r in range(height):
        a, b, c = here[top + r, 3 * left :], first[r], second[r]
        part: Integer = np.int32(0)
        for i in range(3 * width):
            v: Integer = np.int32(b[i] + c[i] + (1 << 2 * FRACTION)) >> (2 * FRACTION + 1)
            d = np.int32(min(max(v, 0), 255)) - np.int32(a[i])
            part += np.int32(d * d)
        total += part
    return total
