"""How the tokens of `image/inr` are laid out: one row of integers, in zigzag order as ids.

    quality             0 to 100
    for each group      the fraction of its updates, and 1 + the class of their sizes; or 0, 0
    updates             of each group's weights, in units of `2**-fraction`
    latents             coarse to fine: each plane of `pyramid.PLANES` by rows
    zeros               up to whole rows of the grid

The grid has the padded picture's width, so that it tells the sides of all planes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.models import weights
from omnicodec.models.inr.pyramid import ALIGN, LARGEST, padded, positions

FORMAT: Final = "omnicodec.prior.inr.v1"

GROUPS: Final = 4
"""Of updates: the models of the two finest scales, the last doubling, and its correction."""

HEAD: Final = 1 + 2 * GROUPS

IDS: Final = 2 * LARGEST + 1


def front(sizes: Sequence[int]) -> int:
    """Return how many integers stand before the latents, given how many updates groups have."""
    return HEAD + sum(sizes)


def grid_of(height: int, width: int, sizes: Sequence[int]) -> tuple[int, int]:
    """Return the grid of a picture; one without pixels has none."""
    if not height or not width:
        return 0, 0
    height, width = padded(height, width)
    return -(-(front(sizes) + positions(height, width)) // width), width


def sides_of(grid: Sequence[int], sizes: Sequence[int]) -> tuple[int, int]:
    """Return the padded sides of a grid's picture; `InvalidInput` where no picture has it."""
    rows, width = grid if len(grid) == 2 else (1, 0)
    if not rows and not width:
        return 0, 0
    if width > 0 and width % ALIGN == 0:
        # A pixel has one latent and a half.
        about = max(rows * width - front(sizes), 0) * 2 // (3 * width) // ALIGN
        for blocks in range(max(about - 1, 1), about + 3):
            if grid_of(blocks * ALIGN, width, sizes) == (rows, width):
                return blocks * ALIGN, width
    raise InvalidInput(f"no picture has the grid {tuple(grid)}")


def prior_fingerprint(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the fingerprint of the prior of these tensors."""
    return weights.fingerprint({"format": FORMAT}, tensors)
