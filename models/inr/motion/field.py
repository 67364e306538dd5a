"""The motion of a frame: what each block of 16x16 pixels is predicted from, and from where.

As integers it is a row whose length follows from (height, width, references), and of which every
value means something:

    modes     one a block, by rows; left out when there is only one reference
    vectors   for each reference, for each quarter of 8x8 pixels by rows: down, across

A block is split where the vectors of its quarters differ. Blocks and quarters at the lower and the
right edge may lie partly or wholly beyond the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]

BLOCK: Final = 16
QUARTER: Final = 8

LARGEST: Final = 1023
"""Vectors are cut to plus or minus this many quarter pixels."""

FIRST: Final = 0
SECOND: Final = 1
MEAN: Final = 2
"""Modes: the first reference, the second, the mean of both."""


def blocks(height: int, width: int) -> tuple[int, int]:
    """Return how many rows and columns of blocks a frame has."""
    return -(-height // BLOCK), -(-width // BLOCK)


def length(height: int, width: int, references: int) -> int:
    """Return how many integers the motion of a frame is, given 1 or 2 references."""
    rows, columns = blocks(height, width)
    return rows * columns * (8 * references + (references == 2))


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of a frame with `(h, w)` blocks.

    `modes` is int32 `(h, w)`: `FIRST`, `SECOND` or `MEAN`. `vectors` is int32
    `(references, 2h, 2w, 2)`, (down, across) in quarter pixels from a quarter of the frame to
    where it is taken from: from above for a negative `down`. Vectors of a reference that a mode
    does not use are 0.
    """

    modes: Ints
    vectors: Ints

    @property
    def references(self) -> int:
        return int(self.vectors.shape[0])

    def row(self) -> Ints:
        """Return all of it as integers, see the module."""
        parts = [self.modes.reshape(-1)] if self.references == 2 else []
        return np.concatenate([*parts, self.vectors.reshape(-1)])

    @classmethod
    def from_row(cls, row: Ints, height: int, width: int, references: int) -> Motion:
        """Return the motion that `row` gives, for any integers at all.

        Modes and vectors are cut to their ranges and vectors without use set to 0, so that the
        result's own row may be another one. Raises ValueError for another length.
        """
        if references not in (1, 2) or row.shape != (length(height, width, references),):
            raise ValueError(f"{row.shape} integers are not the motion of {height}x{width} pixels")
        h, w = blocks(height, width)
        cut = row.size - references * h * w * 8
        modes = np.zeros((h, w), np.int32)
        if cut:
            modes[:] = np.clip(row[:cut], FIRST, MEAN).reshape(h, w)
        vectors = np.clip(row[cut:], -LARGEST, LARGEST).astype(np.int32)
        motion = cls(modes, vectors.reshape(references, 2 * h, 2 * w, 2))
        motion.vectors[~motion.used()] = 0
        return motion

    @classmethod
    def still(cls, height: int, width: int, references: int) -> Motion:
        """Return no motion: all blocks as they are in the first reference."""
        h, w = blocks(height, width)
        return cls(np.zeros((h, w), np.int32), np.zeros((references, 2 * h, 2 * w, 2), np.int32))

    def used(self) -> NDArray[np.bool_]:
        """Return which reference each quarter uses, bool `(references, 2h, 2w)`."""
        modes = self.modes.repeat(2, 0).repeat(2, 1)
        return np.stack([modes != SECOND, modes != FIRST][: self.references])

    def split(self) -> NDArray[np.bool_]:
        """Return which blocks are split, bool `(h, w)`."""
        h, w = self.modes.shape
        quarters = self.vectors.reshape(self.references, h, 2, w, 2, 2)
        found: NDArray[np.bool_] = (quarters != quarters[:, :, :1, :, :1]).any((0, 2, 4, 5))
        return found
