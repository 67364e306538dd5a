"""Reduced codebooks: some entries of FSQ's that stand in for all of them, at a lower rate.

After "Extreme Image Compression using Fine-tuned VQGANs" (Mao et al. 2023,
arXiv:2307.08265): k-means over the code vectors finds the entries, so one network serves
several rates. Tokens stay ids of the whole codebook.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_AT_ONCE: Final = 1 << 22  # distances in memory


def split_digits(ids: NDArray[np.integer[Any]], levels: Sequence[int]) -> NDArray[np.int32]:
    """Return the digits of ids, least significant first: `(D, *ids.shape)`."""
    rest = ids.astype(np.int32)
    digits = np.empty((len(levels), *ids.shape), np.int32)
    for digit, level in zip(digits, levels, strict=True):
        rest, digit[...] = np.divmod(rest, np.int32(level))
    return digits


def join_digits(digits: NDArray[np.int32], levels: Sequence[int]) -> NDArray[np.int32]:
    """Return the ids that have these digits, what `split_digits` took apart."""
    ids = np.zeros(digits.shape[1:], np.int32)
    for digit, level in zip(digits[::-1], reversed(levels), strict=True):
        ids = ids * np.int32(level) + digit
    return ids


def points(
    ids: NDArray[np.integer[Any]], levels: Sequence[int], metric: NDArray[np.int32]
) -> NDArray[np.float64]:
    """Return entries as the decoder sees them, `(n, D)`: whole numbers, in float64.

    A digit `d` of `L` levels counts `2 * d - (L - 1)` steps, and `metric`, integers `(D, D)`,
    maps steps to a space in which distances are those of the decoder's first layer.
    """
    steps = 2 * split_digits(ids, levels) - (np.array(levels, np.int32) - 1)[:, None]
    return steps.T.astype(np.float64) @ metric.astype(np.float64)


def nearest(of: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return for each point which of the others is nearest, the first of equals.

    Points are whole numbers below 2**24, so every sum is exact and all machines agree.
    """
    found = np.empty(len(of), np.int64)
    squares = np.square(among).sum(1)
    step = max(1, _AT_ONCE // len(among))
    for start in range(0, len(of), step):
        part = of[start : start + step]
        found[start : start + step] = (squares - 2 * (part @ among.T)).argmin(1)
    return found


class ReducedCodebook:
    """`entries`, ids `(n,)` of the whole codebook, and the `metric` that says what is near.

    Raises `ValueError` for entries that are not there or come twice.
    """

    def __init__(
        self, entries: NDArray[np.int32], levels: Sequence[int], metric: NDArray[np.int32]
    ) -> None:
        size, dims = math.prod(levels), len(levels)
        if entries.ndim != 1 or not 1 < entries.size <= size:
            raise ValueError(f"a reduced codebook has 2 to {size} entries")
        if metric.shape != (dims, dims) or np.abs(metric.astype(np.int64)).max() >= 1 << 15:
            raise ValueError("a metric is a matrix of small integers, a row and column a digit")
        self.entries = np.sort(entries).astype(np.int32)
        if self.entries[0] < 0 or self.entries[-1] >= size or not np.diff(self.entries).all():
            raise ValueError("the entries of a reduced codebook are different ids of the whole")
        self._levels, self._metric = tuple(levels), metric
        self._points = points(self.entries, levels, metric)

    def __len__(self) -> int:
        return self.entries.size

    def contains(self, ids: NDArray[np.int32]) -> bool:
        """Return whether all ids are entries of this codebook."""
        at = np.searchsorted(self.entries, ids).clip(max=len(self) - 1)
        return bool((self.entries[at] == ids).all())

    def nearest(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the entries that stand in for ids of the whole codebook, in their shape."""
        different, back = np.unique(ids, return_inverse=True)
        chosen = nearest(points(different, self._levels, self._metric), self._points)
        found: NDArray[np.int32] = self.entries[chosen][back].reshape(ids.shape)
        return found
