"""Search for the vector of a block: from likely places downhill, to quarters of a pixel."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.motion.field import LARGEST, Ints
from omnicodec.models.inr.motion.interpolation import Room, interpolate
from omnicodec.models.inr.motion.matching import mean_difference, moved, vector_bits
from omnicodec.models.kernels import Integer, kernel

Pixels = NDArray[np.uint8]
Block = NDArray[np.int32]

_HEXAGON: Final = np.array([[0, 8], [8, 4], [8, -4], [0, -8], [-8, -4], [-8, 4]], np.int64)
SQUARE: Final = np.array(
    [[0, 1], [1, 0], [0, -1], [-1, 0], [1, 1], [1, -1], [-1, -1], [-1, 1]], np.int64
)
_STEPS: Final = 16
"""Steps of the hexagon at most: 32 pixels."""


class Area(NamedTuple):
    """A block or quarter: its pixels within the frame, and the vector it probably has."""

    top: Integer
    left: Integer
    height: Integer
    width: Integer
    down: Integer
    across: Integer


class Try(NamedTuple):
    """A vector, the squared difference it leaves, and that with its bits as a cost."""

    down: Integer
    across: Integer
    error: Integer
    cost: float


@kernel
def attempt(
    here: Pixels, there: Pixels, area: Area, down: Integer, across: Integer, rate: float,
    paired: bool, other: Block, room: Room, out: Block,
) -> Try:  # fmt: skip
    """Return what a vector gives, alone or with another prediction."""
    if paired:
        block(there, area, down, across, room, out)
        error = mean_difference(here, area.top, area.left, area.height, area.width, out, other)
    else:
        error = moved(
            here, there, area.top, area.left, area.height, area.width, down, across, room, out
        )
    bits = vector_bits(down - area.down, across - area.across)
    return Try(np.int64(down), np.int64(across), np.int64(error), error + rate * bits)


@kernel
def block(
    there: Pixels, area: Area, down: Integer, across: Integer, room: Room, out: Block
) -> None:
    """Set `out` to 4096 times what a vector predicts."""
    interpolate(there, area.top, area.left, area.height, area.width, down, across, room, out)


@kernel
def descend(
    here: Pixels, there: Pixels, area: Area, best: Try, pattern: NDArray[np.int64],
    scale: Integer, steps: Integer, rate: float,
    paired: bool, other: Block, room: Room, out: Block,
) -> Try:  # fmt: skip
    """Return the best vector that a pattern leads to, step by step."""
    for _ in range(steps):
        down, across = best.down, best.across
        for k in range(pattern.shape[0]):
            v, h = down + scale * pattern[k, 0], across + scale * pattern[k, 1]
            if max(abs(v), abs(h)) <= LARGEST:
                found = attempt(here, there, area, v, h, rate, paired, other, room, out)
                if found.cost < best.cost:
                    best = found
        if best.down == down and best.across == across:
            break
    return best


@kernel
def fractions(
    here: Pixels, there: Pixels, area: Area, best: Try, rate: float,
    paired: bool, other: Block, room: Room, out: Block,
) -> Try:  # fmt: skip
    """Return the best vector around, first in halves of a pixel, then in quarters."""
    best = descend(here, there, area, best, SQUARE, 2, 1, rate, paired, other, room, out)
    return descend(here, there, area, best, SQUARE, 1, 2, rate, paired, other, room, out)


@kernel
def search(
    here: Pixels, there: Pixels, area: Area, starts: Ints, rate: float, room: Room, out: Block
) -> Try:
    """Return the best vector that is found from some `starts`, `(n, 2)`, for one reference."""
    best = attempt(here, there, area, area.down, area.across, rate, False, out, room, out)
    if best.error <= 2 * rate:  # another vector takes more bits than it could save
        return best
    exact = best
    best = Try(best.down, best.across, best.error, np.inf)
    for k in range(starts.shape[0]):
        v = min(max((starts[k, 0] + 2) >> 2 << 2, -LARGEST + 3), LARGEST - 3)
        h = min(max((starts[k, 1] + 2) >> 2 << 2, -LARGEST + 3), LARGEST - 3)
        if best.cost == np.inf or v != best.down or h != best.across:
            found = attempt(here, there, area, v, h, rate, False, out, room, out)
            if found.cost < best.cost:
                best = found
    best = descend(here, there, area, best, _HEXAGON, 1, _STEPS, rate, False, out, room, out)
    best = descend(here, there, area, best, SQUARE, 4, 3, rate, False, out, room, out)
    if exact.cost < best.cost:
        best = exact
    return fractions(here, there, area, best, rate, False, out, room, out)
