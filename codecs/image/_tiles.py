"""Large pictures as overlapping passes over token positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.tiling import Tile, tiles

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Pass:
    """One pass of a network: the rows and columns of positions that it computes and keeps.

    Slices are of positions, or of pixels where `scale` is the patch that a position covers.
    """

    rows: Tile
    columns: Tile

    def computed(self, scale: int = 1) -> Slices:
        """Return where the pass lies in the whole."""
        rows, columns = self.rows, self.columns
        return (
            slice(rows.start * scale, rows.stop * scale),
            slice(columns.start * scale, columns.stop * scale),
        )

    def kept(self, scale: int = 1) -> Slices:
        """Return where the kept part of the pass lies in the whole."""
        rows, columns = self.rows, self.columns
        return (
            slice(rows.keep_start * scale, rows.keep_stop * scale),
            slice(columns.keep_start * scale, columns.keep_stop * scale),
        )

    def inside(self, scale: int = 1) -> Slices:
        """Return where the kept part of the pass lies in the pass."""
        rows, columns = self.rows, self.columns
        return (
            slice((rows.keep_start - rows.start) * scale, (rows.keep_stop - rows.start) * scale),
            slice(
                (columns.keep_start - columns.start) * scale,
                (columns.keep_stop - columns.start) * scale,
            ),
        )

    def pixels(self, pixels: NDArray[np.uint8], patch: int) -> NDArray[np.uint8]:
        """Return the pixels of the pass, the last row and column repeated up to whole patches.

        They may be a view, but not of pixels that must not be written to: torch warns of those.
        """
        piece = pixels[self.computed(patch)]
        below = (self.rows.stop - self.rows.start) * patch - piece.shape[0]
        right = (self.columns.stop - self.columns.start) * patch - piece.shape[1]
        if below or right:
            return np.pad(piece, ((0, below), (0, right), (0, 0)), "edge")
        return piece if piece.flags.writeable else piece.copy()


def passes(grid: Sequence[int], core: int, margin: int) -> Iterator[Pass]:
    """Yield the passes over a grid; none for one without positions.

    Each keeps up to `core` positions a side and computes `margin` around them.
    """
    if 0 in grid:
        return
    for rows in tiles(grid[0], core, margin):
        for columns in tiles(grid[1], core, margin):
            yield Pass(rows, columns)
