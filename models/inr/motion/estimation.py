"""Motion found for a frame, by what its errors and its bits cost together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from omnicodec.models.inr.motion.coarse import guess, pyramid
from omnicodec.models.inr.motion.compensation import check, plane_of
from omnicodec.models.inr.motion.field import (
    BLOCK,
    MEAN,
    QUARTER,
    SECOND,
    Ints,
    Motion,
)
from omnicodec.models.inr.motion.interpolation import Room, room
from omnicodec.models.inr.motion.matching import MODE_BITS, SPLIT_BITS, vector_bits
from omnicodec.models.inr.motion.search import (
    SQUARE,
    Area,
    Block,
    Pixels,
    Try,
    attempt,
    block,
    descend,
    fractions,
    search,
)
from omnicodec.models.inr.motion.vectors import fill, predicted
from omnicodec.models.kernels import Integer, kernel

_MOST: Final = 1e12


def estimate(
    frame: Pixels, references: Sequence[Pixels], rate: float, *, split: bool = True
) -> Motion:
    """Return motion that predicts a frame, uint8 `(H, W, 3)`, from one or two references.

    `rate` is what a bit of motion costs in squared error, of pixels 0 to 255 and summed over
    the channels: blocks are matched by the sum of both, as if no residual followed. Without
    `split` no block is split. Costs are floats, so that other machines may find other motion.
    Raises ValueError for references of another shape.
    """
    shape = frame.shape
    motion = Motion.still(shape[0], shape[1], len(references))
    check(motion, shape, references)
    if not frame.size:
        return motion
    levels = pyramid(frame)
    guesses = np.stack([guess(levels, pyramid(x)) for x in references])
    planes = [plane_of(x) for x in (frame, *references)]
    field = np.zeros_like(motion.vectors)
    _blocks(
        planes[0], planes[1], planes[-1], guesses, min(float(rate), _MOST), split,
        motion.modes, motion.vectors, field,
    )  # fmt: skip
    return motion


@kernel
def _blocks(
    here: Pixels, first: Pixels, second: Pixels, guesses: Ints, rate: float, split: bool,
    modes: Ints, vectors: Ints, field: Ints,
) -> None:  # fmt: skip
    references = vectors.shape[0]
    space = room(BLOCK, BLOCK)
    outs = np.empty((3, BLOCK, 3 * BLOCK), np.int32)
    starts = np.zeros((6, 2), np.int32)
    whole, before = np.zeros((2, 2), np.int32), np.zeros((2, 2), np.int32)
    for r in range(0, field.shape[1], 2):
        for c in range(0, field.shape[2], 2):
            mode, error, cost = _whole(
                here, first, second, guesses, modes, field, r, c, rate, space, outs, starts, whole
            )
            _settle(field, mode, r, c, 2, whole)
            if split and error > rate * SPLIT_BITS:
                before[:references] = field[:, r, c]
                limit = cost - rate * SPLIT_BITS
                if not _quarters(
                    here, first, second, mode, field, r, c, rate, limit, space, outs, whole
                ):
                    for k in range(references):
                        fill(field, k, r, c, 2, before[k, 0], before[k, 1])
            modes[r >> 1, c >> 1] = mode
            for k in range(references):
                if mode in (k, MEAN):
                    vectors[k, r : r + 2, c : c + 2] = field[k, r : r + 2, c : c + 2]


@kernel
def _whole(
    here: Pixels, first: Pixels, second: Pixels, guesses: Ints, modes: Ints, field: Ints,
    r: Integer, c: Integer, rate: float, space: Room, outs: Block, starts: Ints, whole: Ints,
) -> tuple[Integer, Integer, float]:  # fmt: skip
    """Set the vectors of a block, `whole`, and return its mode, its error and what it costs."""
    a_area = _area(here, field, 0, r, c, 2)
    _starts(field, 0, r, c, guesses, starts)
    a = search(here, first, a_area, starts, rate, space, outs[2])
    whole[0] = a.down, a.across
    if field.shape[0] == 1:
        return 0, a.error, a.cost
    b_area = _area(here, field, 1, r, c, 2)
    _starts(field, 1, r, c, guesses, starts)
    starts[5] = -a.down, -a.across
    b = search(here, second, b_area, starts, rate, space, outs[2])
    whole[1] = b.down, b.across
    mode, error, cost = 0, a.error, a.cost + rate * _mode_bits(modes, 0, r, c)
    other = b.cost + rate * _mode_bits(modes, SECOND, r, c)
    if other < cost:
        mode, error, cost = SECOND, b.error, other
    if error > rate:
        bits = rate * _mode_bits(modes, MEAN, r, c)
        a, b, both = _pair(here, first, second, a_area, b_area, whole, rate, space, outs)
        if both + bits < cost:
            whole[0] = a.down, a.across
            whole[1] = b.down, b.across
            return MEAN, a.error, both + bits
    return mode, error, cost


@kernel
def _pair(
    here: Pixels, first: Pixels, second: Pixels, a_area: Area, b_area: Area, whole: Ints,
    rate: float, space: Room, outs: Block,
) -> tuple[Try, Try, float]:  # fmt: skip
    """Return two vectors for the mean of both references: better than `whole`, or the likely."""
    block(first, a_area, whole[0, 0], whole[0, 1], space, outs[0])
    b = attempt(here, second, b_area, whole[1, 0], whole[1, 1], rate, True, outs[0], space, outs[1])
    bits = vector_bits(whole[0, 0] - a_area.down, whole[0, 1] - a_area.across)
    down, across = np.int64(whole[0, 0]), np.int64(whole[0, 1])
    block(first, a_area, a_area.down, a_area.across, space, outs[1])
    likely = attempt(
        here, second, b_area, b_area.down, b_area.across, rate, True, outs[1], space, outs[2]
    )
    if likely.cost < b.cost + rate * bits:
        b, down, across = likely, a_area.down, a_area.across
        outs[0] = outs[1]
    b = fractions(here, second, b_area, b, rate, True, outs[0], space, outs[2])
    block(second, b_area, b.down, b.across, space, outs[1])
    a = attempt(here, first, a_area, down, across, rate, True, outs[1], space, outs[2])
    a = fractions(here, first, a_area, a, rate, True, outs[1], space, outs[2])
    return a, b, a.cost + rate * vector_bits(b.down - b_area.down, b.across - b_area.across)


@kernel
def _quarters(
    here: Pixels, first: Pixels, second: Pixels, mode: Integer, field: Ints,
    r: Integer, c: Integer, rate: float, limit: float, space: Room, outs: Block, whole: Ints,
) -> bool:  # fmt: skip
    """Give quarters their own vectors; return whether they cost less than `limit` together."""
    found = np.zeros((2, 2), np.int32)
    total = 0.0
    for q in range(4):
        row, column = r + q // 2, c + q % 2
        k = np.int64(mode == SECOND)
        area = _area(here, field, k, row, column, 1)
        if area.height > 0 and area.width > 0:
            if mode == MEAN:
                other = _area(here, field, 1, row, column, 1)
                a, b, cost = _pair(here, first, second, area, other, whole, rate, space, outs)
                found[0] = a.down, a.across
                found[1] = b.down, b.across
            else:
                there = second if k == 1 else first
                a = _again(here, there, area, whole[k], rate, space, outs)
                found[k] = a.down, a.across
                cost = a.cost
            total += cost
            if total >= limit:
                return False
        else:  # beyond the frame
            found[k] = area.down, area.across
            if mode == MEAN:
                beyond = _area(here, field, 1, row, column, 1)
                found[1] = beyond.down, beyond.across
        _settle(field, mode, row, column, 1, found)
    return True


@kernel
def _again(
    here: Pixels, there: Pixels, area: Area, start: Ints, rate: float, space: Room, outs: Block
) -> Try:
    """Return a quarter's vector, from that of its block or the likely one on."""
    out = outs[2]
    best = attempt(here, there, area, start[0], start[1], rate, False, out, space, out)
    likely = attempt(here, there, area, area.down, area.across, rate, False, out, space, out)
    if likely.cost < best.cost:
        best = likely
    best = descend(here, there, area, best, SQUARE, 4, 4, rate, False, out, space, out)
    return fractions(here, there, area, best, rate, False, out, space, out)


@kernel
def _area(here: Pixels, field: Ints, k: Integer, r: Integer, c: Integer, size: Integer) -> Area:
    down, across, _ = predicted(field, k, r, c, size)
    top, left, side = QUARTER * r, QUARTER * c, QUARTER * size
    return Area(
        top, left, min(side, here.shape[0] - top), min(side, here.shape[1] // 3 - left),
        np.int64(down), np.int64(across),
    )  # fmt: skip


@kernel
def _starts(field: Ints, k: Integer, r: Integer, c: Integer, guesses: Ints, starts: Ints) -> None:
    """Set where a search begins: no motion, the guess, the likely vector, the neighbours'."""
    starts[:] = 0
    for a in range(2):
        starts[1, a] = 4 * guesses[k, r >> 1, c >> 1, a]
        if c > 0:
            starts[2, a] = field[k, r, c - 1, a]
        if r > 0:
            starts[3, a] = field[k, r - 1, c, a]
            starts[4, a] = field[k, r - 1, min(c + 2, field.shape[2] - 1), a]
    starts[5, 0], starts[5, 1], _ = predicted(field, k, r, c, 2)


@kernel
def _settle(
    field: Ints, mode: Integer, r: Integer, c: Integer, size: Integer, vectors: Ints
) -> None:
    """Set the vectors of references that are used, and the likely ones of others."""
    for k in range(field.shape[0]):
        if mode in (k, MEAN):
            fill(field, k, r, c, size, vectors[k, 0], vectors[k, 1])
        else:
            down, across, _ = predicted(field, k, r, c, size)
            fill(field, k, r, c, size, down, across)


@kernel
def _mode_bits(modes: Ints, mode: Integer, r: Integer, c: Integer) -> float:
    row, column = r >> 1, c >> 1
    bits = 0.3
    if column > 0 and modes[row, column - 1] != mode:
        bits += MODE_BITS
    if row > 0 and modes[row - 1, column] != mode:
        bits += MODE_BITS
    return bits
