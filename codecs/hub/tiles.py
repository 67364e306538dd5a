"""Large pictures in tiles, each of which goes through a network by itself.

Attention and norms see the whole of what they are given, so tiles that overlap would not give the
tokens of the whole picture either. What bounds memory is cut once, and the cut is part of the
tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput

Array = NDArray[Any]
Box = tuple[slice, ...]


def tiles(grid: Sequence[int], side: int) -> list[Box]:
    """Return where the tiles of a grid `(h, w)` of tokens lie, in row-major order.

    Up to `side * side` positions are one tile, whatever their shape; more are cut into tiles that
    are as even as can be, with at most `side` tokens a side. None for a grid without positions.
    """
    height, width = grid
    if not height * width:
        return []
    if height * width <= side * side:
        return [(slice(0, height), slice(0, width))]
    return [(rows, columns) for rows in cuts(height, side) for columns in cuts(width, side)]


def cuts(length: int, most: int) -> list[slice]:
    """Return the fewest pieces of at most `most` that a length has, the longest first."""
    count = -(-length // most)
    ends = [-(-length * i // count) for i in range(count + 1)]
    return [slice(*pair) for pair in pairwise(ends)]


def scaled(box: Box, by: int) -> Box:
    """Return the pixels of a box of tokens, each of which is `by` pixels high and wide."""
    return tuple(slice(each.start * by, each.stop * by) for each in box)


def joined(parts: Sequence[Array], boxes: Sequence[Box], grid: Sequence[int]) -> Array:
    """Return `(K, N)` of a grid, where `parts` are the `(K, ...)` of its boxes."""
    if not parts:
        return np.zeros((0, 0), np.int32)
    whole = np.empty((len(parts[0]), *grid), parts[0].dtype)
    for part, box in zip(parts, boxes, strict=True):
        whole[:, *box] = part
    return whole.reshape(len(whole), -1)


def fitted(pixels: Array, *sides: int) -> Array:
    """Return pixels `(..., 3)` with these sides, by repeating the last row, column and frame."""
    room = [(0, side - has) for side, has in zip(sides, pixels.shape, strict=False)]
    return np.pad(pixels, (*room, (0, 0)), "edge")


def check_tile(name: str, tile: int, most: int) -> None:
    """Raise `InvalidInput` unless tiles may have this side."""
    if not 0 < tile <= most:
        raise InvalidInput(f"{name} has tiles of 1 to {most} tokens, not {tile}")


def check_shape(name: str, found: Sequence[int], box: Box) -> None:
    """Raise `InvalidInput` where a network does not make of a piece what its configuration says."""
    expected = tuple(each.stop - each.start for each in box)
    if tuple(found) != expected:
        raise InvalidInput(f"{name} gives {tuple(found)} where {expected} is right")
