"""A first guess of motion, from small pictures to larger ones (hierarchical block matching).

Each level has half the sides of the one below it, and blocks of 8x8 of its own pixels. All begin
with what the blocks around found on the level above, and all but the largest look at every place
nearby.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.motion.field import BLOCK, Ints, blocks
from omnicodec.models.kernels import Integer, kernel

_SIDE: Final = 8
_LEVELS: Final = 4
_REACH: Final = 7
"""Pixels to all sides that are nearby: 112 of the frame, in the smallest picture."""

_EDGE: Final = 24
"""Pixels that each level is continued by; blocks stay within them."""

_STEPS: Final = 6
_SMOOTH: Final = 8
"""What a pixel away from the likely vector costs, in absolute differences."""

_AROUND: Final = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], np.int64)

Gray = NDArray[np.int16]


def pyramid(frame: NDArray[np.uint8]) -> list[Gray]:
    """Return a frame's brightness at half its sides and on, continued beyond the edges.

    The first level has twice 8x8 pixels a block, so that it is the finest that is searched.
    """
    height, width = blocks(*frame.shape[:2])
    wide = np.empty((BLOCK * height, BLOCK * width), np.int16)
    h, w = frame.shape[:2]
    wide[:h, :w] = (frame @ np.array([1, 2, 1], np.uint16)) >> 2
    wide[h:, :w] = wide[h - 1, :w]
    wide[:, w:] = wide[:, w - 1 : w]
    levels = []
    for _ in range(_LEVELS):
        h, w = (-(-n // 2) * 2 for n in wide.shape)
        wide = np.pad(wide, ((0, h - wide.shape[0]), (0, w - wide.shape[1])), "edge")
        parts = [wide[i::2, j::2] for i in (0, 1) for j in (0, 1)]
        wide = (sum(parts[1:], parts[0]) + 2) >> 2
        h, w = (-(-n // _SIDE) * _SIDE for n in wide.shape)
        edges = [(_EDGE, _EDGE + to - n) for to, n in zip((h, w), wide.shape, strict=True)]
        levels.append(np.pad(wide, edges, "edge"))
    return levels


def guess(frame: list[Gray], reference: list[Gray]) -> Ints:
    """Return whole pixels (down, across) for each block of the frame, int32 `(h, w, 2)`."""
    found = np.zeros((1, 1, 2), np.int32)
    for level in reversed(range(_LEVELS)):
        here, there = frame[level], reference[level]
        size = [(n - 2 * _EDGE) // _SIDE for n in here.shape]
        field = np.zeros((*size, 2), np.int32)
        _search(here, there, found, level > 0, field)
        found = 2 * field
    return found


@kernel
def _search(here: Gray, there: Gray, above: Ints, full: bool, field: Ints) -> None:
    last_row, last_column = above.shape[0] - 1, above.shape[1] - 1
    for r in range(field.shape[0]):
        for c in range(field.shape[1]):
            likely = above[min(r >> 1, last_row), min(c >> 1, last_column)]
            best = _cost(here, there, r, c, likely[0], likely[1])
            down, across = likely[0], likely[1]
            # What was found around it in the level above and to the left, and no motion.
            for k in range(6):
                v: Integer = np.int32(0)
                h: Integer = np.int32(0)
                if k < 4:
                    row = min(max((r >> 1) + _AROUND[k, 0], 0), last_row)
                    column = min(max((c >> 1) + _AROUND[k, 1], 0), last_column)
                    v, h = above[row, column]
                elif k == 4 and c > 0:
                    v, h = field[r, c - 1]
                away = abs(v - likely[0]) + abs(h - likely[1])
                cost = _cost(here, there, r, c, v, h) + _SMOOTH * min(away, 4)
                if cost < best:
                    best, down, across = cost, v, h
            if full:
                for v in range(-_REACH, _REACH + 1):
                    for h in range(-_REACH, _REACH + 1):
                        cost = _cost(here, there, r, c, v, h) + _SMOOTH * 4
                        if cost < best:
                            best, down, across = cost, np.int32(v), np.int32(h)
            for _ in range(_STEPS):
                v, h = down, across
                for k in range(4):
                    a, b = v + _AROUND[k, 0], h + _AROUND[k, 1]
                    cost = _cost(here, there, r, c, a, b) + _SMOOTH
                    if cost < best:
                        best, down, across = cost, np.int32(a), np.int32(b)
                if v == down and h == across:
                    break
            field[r, c, 0] = down
            field[r, c, 1] = across


@kernel
def _cost(
    here: Gray, there: Gray, r: Integer, c: Integer, down: Integer, across: Integer
) -> Integer:
    """Return the absolute differences of a block and what a vector points to, as far as it can."""
    y, x = _EDGE + _SIDE * r, _EDGE + _SIDE * c
    top, left = y + down, x + across
    if not (0 <= top <= there.shape[0] - _SIDE and 0 <= left <= there.shape[1] - _SIDE):
        return 1 << 30
    total = np.int32(0)
    for i in range(_SIDE):
        a, b = here[y + i, x : x + _SIDE], there[top + i, left : left + _SIDE]
        for j in range(_SIDE):
            total += np.int32(abs(a[j] - b[j]))
    return np.int64(total)
