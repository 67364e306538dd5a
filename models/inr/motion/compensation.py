"""A frame predicted from others by its motion, in integers: the same on every machine.

Blocks overlap (Orchard and Sullivan 1994, overlapped block motion compensation): the prediction of
a quarter reaches four pixels beyond its edges, and fades there in steps of an eighth as that of
its neighbour grows. Where both move alike, this changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.bands import side_by_side
from omnicodec.models.inr.motion.field import MEAN, QUARTER, SECOND, Ints, Motion, blocks
from omnicodec.models.inr.motion.interpolation import FRACTION, Room, interpolate, room
from omnicodec.models.kernels import Integer, kernel

_HALF: Final = QUARTER // 2
_FADE: Final = np.array([15, 13, 11, 9, 7, 5, 3, 1], np.int32)
_AROUND: Final = [
    np.outer(d, a.repeat(3)) for d in (_FADE, 16 - _FADE) for a in (_FADE, 16 - _FADE)
]
_SHARES: Final = np.array(
    [sum(_AROUND[q] * (some >> q & 1) for q in range(4)) for some in range(16)], np.int32
)
"""What some of the four quarters around a corner weigh together in the 8x8 pixels around it.

Of 256; bits 0 to 3 of the index are the quarters above and below, before and after.
"""

_PLAIN_BITS: Final = 2 * FRACTION
_MEAN_BITS: Final = 2 * FRACTION + 1
_BLEND_BITS: Final = 2 * FRACTION + 9

Pixels = NDArray[np.uint8]


def compensate(references: Sequence[Pixels], motion: Motion, *, threads: int = 1) -> Pixels:
    """Return the frame, uint8 `(H, W, 3)`, that motion makes of its references.

    References are one or two of the same shape. Threads change nothing but the time it takes.
    Raises ValueError for motion that is not that of such frames.
    """
    shape = references[0].shape
    planes = [plane_of(x) for x in references]
    check(motion, shape, references)
    out = np.empty(shape, np.uint8)
    flat = out.reshape(shape[0], 3 * shape[1])
    modes, vectors = np.ascontiguousarray(motion.modes), np.ascontiguousarray(motion.vectors)
    cells = motion.vectors.shape[1] + 1
    count = max(1, min(threads, cells))
    edges = [cells * n // count for n in range(count + 1)]

    def band(n: int) -> None:
        _rows(planes[0], planes[-1], modes, vectors, edges[n], edges[n + 1], flat)

    side_by_side(band, range(count))
    return out


def check(motion: Motion, shape: tuple[int, ...], references: Sequence[Pixels]) -> None:
    """Raise ValueError unless motion is that of a frame of a shape with these references."""
    h, w = blocks(shape[0], shape[1])
    fits = motion.modes.shape == (h, w)
    fits &= motion.vectors.shape == (len(references), 2 * h, 2 * w, 2)
    if not fits or any(x.shape != shape for x in references):
        raise ValueError(f"motion of {motion.vectors.shape} does not fit frames of {shape}")


def plane_of(frame: Pixels) -> Pixels:
    """Return a frame as loops take it: `(H, 3 * W)`, contiguous and writable."""
    height, width, _ = frame.shape
    return np.require(frame, np.uint8, ["C", "W"]).reshape(height, 3 * width)


@kernel
def _rows(
    first: Pixels, second: Pixels, modes: Ints, vectors: Ints,
    start: Integer, stop: Integer, out: Pixels,
) -> None:  # fmt: skip
    """Predict rows of cells: squares of 8x8 pixels around the corners of quarters.

    All pixels of a cell have the same four quarters. Cells side by side whose quarters all move
    alike are predicted at once.
    """
    height, width = out.shape[0], out.shape[1] // 3
    space = room(QUARTER, width)
    part = np.empty((QUARTER, 3 * width), np.int32)
    blend = np.empty((QUARTER, 3 * QUARTER), np.int32)
    rows, columns = vectors.shape[1], vectors.shape[2]
    for i in range(start, stop):
        top, bottom = max(8 * i - _HALF, 0), min(8 * i + _HALF, height)
        above, below = max(i - 1, 0), min(i, rows - 1)
        j = 0
        while top < bottom and 8 * j - _HALF < width:
            left = max(8 * j - _HALF, 0)
            before, column = max(j - 1, 0), max(j - 1, 0)
            while (
                column < columns
                and _alike(modes, vectors, above, before, above, column)
                and _alike(modes, vectors, above, before, below, column)
            ):
                column += 1
            # All quarters up to this column are alike, so the cells before it are plain.
            if column == columns:
                column = columns + 1
            if column > j:
                right = min(8 * column - _HALF, width)
                _plain(
                    first, second, modes, vectors, above, before,
                    top, left, bottom - top, right - left, space, part, out,
                )  # fmt: skip
                j = column
            else:
                right = min(8 * j + _HALF, width)
                _blended(
                    first, second, modes, vectors, i, j,
                    top, left, bottom - top, right - left, space, part, blend, out,
                )  # fmt: skip
                j += 1


@kernel
def _alike(
    modes: Ints, vectors: Ints, r: Integer, c: Integer, row: Integer, column: Integer
) -> bool:
    alike: bool = modes[r >> 1, c >> 1] == modes[row >> 1, column >> 1]
    for k in range(vectors.shape[0]):
        for a in range(2):
            alike &= vectors[k, r, c, a] == vectors[k, row, column, a]
    return alike


@kernel
def _plain(
    first: Pixels, second: Pixels, modes: Ints, vectors: Ints, r: Integer, c: Integer,
    top: Integer, left: Integer, height: Integer, width: Integer,
    space: Room, part: NDArray[np.int32], out: Pixels,
) -> None:  # fmt: skip
    """Predict pixels by the motion of one quarter."""
    mode = modes[r >> 1, c >> 1]
    if mode == MEAN:
        _double(first, second, mode, vectors, r, c, top, left, height, width, space, part)
        _round(part, _MEAN_BITS, top, left, height, width, out)
        return
    plane = second if mode == SECOND else first
    down, across = vectors[mode, r, c]
    y, x = top + (down >> 2), left + (across >> 2)
    inside = y >= 0 and y + height <= out.shape[0] and x >= 0 and 3 * (x + width) <= out.shape[1]
    if inside and down & 3 == 0 and across & 3 == 0:
        for i in range(height):
            out[top + i, 3 * left : 3 * (left + width)] = plane[y + i, 3 * x : 3 * (x + width)]
        return
    interpolate(plane, top, left, height, width, down, across, space, part)
    _round(part, _PLAIN_BITS, top, left, height, width, out)


@kernel
def _blended(
    first: Pixels, second: Pixels, modes: Ints, vectors: Ints, i: Integer, j: Integer,
    top: Integer, left: Integer, height: Integer, width: Integer,
    space: Room, part: NDArray[np.int32], blend: NDArray[np.int32], out: Pixels,
) -> None:  # fmt: skip
    """Predict a cell from up to four quarters; those that move alike are predicted once."""
    once = True
    y, x = top - (8 * i - _HALF), 3 * (left - (8 * j - _HALF))
    last_row, last_column = vectors.shape[1] - 1, vectors.shape[2] - 1
    for q in range(4):
        r = min(max(i - 1 + q // 2, 0), last_row)
        c = min(max(j - 1 + q % 2, 0), last_column)
        some = 0
        for other in range(4):
            row = min(max(i - 1 + other // 2, 0), last_row)
            column = min(max(j - 1 + other % 2, 0), last_column)
            if _alike(modes, vectors, r, c, row, column):
                some |= 1 << other
        if some & ((1 << q) - 1):
            continue
        mode = modes[r >> 1, c >> 1]
        _double(first, second, mode, vectors, r, c, top, left, height, width, space, part)
        for a in range(height):
            to, line, share = blend[a], part[a], _SHARES[some, y + a, x:]
            # Below 2**30: at most 2 * 88 * 88 * 255 for a single quarter.
            if once:
                for b in range(3 * width):
                    to[b] = line[b] * share[b]
            else:
                for b in range(3 * width):
                    to[b] += line[b] * share[b]
        once = False
    _round(blend, _BLEND_BITS, top, left, height, width, out)


@kernel
def _double(
    first: Pixels, second: Pixels, mode: Integer, vectors: Ints, r: Integer, c: Integer,
    top: Integer, left: Integer, height: Integer, width: Integer,
    space: Room, part: NDArray[np.int32],
) -> None:  # fmt: skip
    """Set `part` to twice what a quarter's motion gives: the sum of both references, if so."""
    k = np.int64(mode == SECOND)
    plane = second if mode == SECOND else first
    down, across = vectors[k, r, c]
    interpolate(plane, top, left, height, width, down, across, space, part)
    if mode != MEAN:
        for a in range(height):
            line = part[a]
            for b in range(3 * width):
                line[b] = line[b] << 1
        return
    down, across = vectors[1, r, c]
    interpolate(second, top, left, height, width, down, across, space, space.more)
    for a in range(height):
        line, more = part[a], space.more[a]
        for b in range(3 * width):
            line[b] += more[b]


@kernel
def _round(
    part: NDArray[np.int32], bits: Integer, top: Integer, left: Integer,
    height: Integer, width: Integer, out: Pixels,
) -> None:  # fmt: skip
    for a in range(height):
        line, to = part[a], out[top + a, 3 * left :]
        if bits == _PLAIN_BITS:  # shifts by constants, which are quick
            for b in range(3 * width):
                v: Integer = np.int32(line[b] + (1 << _PLAIN_BITS - 1)) >> _PLAIN_BITS
                to[b] = min(max(v, 0), 255)
        elif bits == _MEAN_BITS:
            for b in range(3 * width):
                v = np.int32(line[b] + (1 << _MEAN_BITS - 1)) >> _MEAN_BITS
                to[b] = min(max(v, 0), 255)
        else:
            for b in range(3 * width):
                v = np.int32(line[b] + (1 << _BLEND_BITS - 1)) >> _BLEND_BITS
                to[b] = min(max(v, 0), 255)
