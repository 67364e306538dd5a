"""Training items as the mixer's kernels take them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Item = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Symbols, position by position, and their layout: codebooks, first position, height, width."""

Items = Sequence[Item]


def text_item(data: bytes) -> Item:
    """Return a text as an item."""
    symbols = np.frombuffer(data, np.uint8).astype(np.int32)
    return symbols, np.array([1, 0, 1, max(1, symbols.size)], np.int64)


def grid_item(ids: NDArray[np.int32], grid: tuple[int, ...]) -> Item:
    """Return codes `(K, N)` on a grid as an item."""
    full = (1, 1, *grid)
    layout = np.array([ids.shape[0], 0, max(1, full[-2]), max(1, full[-1])], np.int64)
    return np.ascontiguousarray(ids.T, np.int32).reshape(-1), layout
