"""The loops that cut: from one value a byte to the lengths of patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.text._segmentation import HIGHEST, Bits, Flags
from omnicodec.models.kernels import kernel


@kernel
def limited(flags: Flags, longest: int) -> NDArray[np.int32]:
    """Return the lengths of patches that begin at the flags, and where one is full."""
    lengths = np.empty(flags.size, np.int32)
    count, start = 0, 0
    for i in range(1, flags.size):
        if flags[i] or i - start == longest:
            lengths[count] = i - start
            count += 1
            start = i
    if flags.size:
        lengths[count] = flags.size - start
        count += 1
    return lengths[:count].copy()


@kernel
def above(values: Bits, threshold: int, rate: int, average: int, longest: int) -> NDArray[np.int32]:
    """Return the lengths of patches that begin where a value is above the threshold.

    The threshold moves by `rate * (average / 1000 - n)` behind a patch of `n` values, and
    stays between 0 and `HIGHEST`.
    """
    lengths = np.empty(values.size, np.int32)
    count, start, level = 0, 0, 1000 * threshold
    for i in range(1, values.size):
        if 1000 * np.int64(values[i]) > level or i - start == longest:
            lengths[count] = i - start
            level = min(max(level + rate * (average - 1000 * (i - start)), 0), 1000 * HIGHEST)
            count += 1
            start = i
    if values.size:
        lengths[count] = values.size - start
        count += 1
    return lengths[:count].copy()


@kernel
def equal_sums(
    values: Bits, threshold: int, rate: int, average: int, longest: int
) -> NDArray[np.int32]:
    """Return the lengths of patches that end where their sum is above the threshold.

    It moves as in `above`.
    """
    lengths = np.empty(values.size, np.int32)
    count, start, total, level = 0, 0, 0, 1000 * threshold
    for i in range(values.size):
        total += values[i]
        size = i + 1 - start
        if 1000 * total > level or size == longest:
            lengths[count] = size
            level = min(max(level + rate * (average - 1000 * size), 0), 1000 * HIGHEST)
            count += 1
            start, total = i + 1, 0
    if start < values.size:
        lengths[count] = values.size - start
        count += 1
    return lengths[:count].copy()
