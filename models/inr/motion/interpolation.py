"""Pixels between pixels: the 8-tap filters of HEVC (H.265, 8.5.3.3.3), without rounding.

A frame is a plane here: `(H, 3 * W)` uint8, the channels of a pixel side by side. All three have
the same filters. Results are 4096 times the pixels, so that means and weighted sums of them are
exact, too, and there is one rounding at the very end.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import Integer, kernel

TAPS: Final = 8
BEFORE: Final = 3
"""Taps of a filter that stand before the pixel."""

FRACTION: Final = 6
"""Filters add up to `1 << FRACTION`, so that a block is `1 << 2 * FRACTION` times its pixels."""

FILTERS: Final = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ],
    np.int16,
)
"""One for each quarter of a pixel."""

_MORE: Final = TAPS - 1


class Room(NamedTuple):
    """Memory that a loop works in.

    `pixels` are those of a block with what lies beyond the edge, `rows` are filtered across.
    `more` is for the caller, as large as a block.
    """

    pixels: NDArray[np.uint8]
    rows: NDArray[np.int16]
    more: NDArray[np.int32]


@kernel
def room(height: Integer, width: Integer) -> Room:
    """Return what `interpolate` needs for blocks of up to this size."""
    pixels = np.empty((height + _MORE, 3 * (width + _MORE)), np.uint8)
    rows = np.empty((height + _MORE, 3 * width), np.int16)
    return Room(pixels, rows, np.empty((height, 3 * width), np.int32))


@kernel
def interpolate(
    plane: NDArray[np.uint8], top: Integer, left: Integer, height: Integer, width: Integer,
    down: Integer, across: Integer, room: Room, out: NDArray[np.int32],
) -> None:  # fmt: skip
    """Set `out[:height, :3 * width]` to a block of the plane moved by a vector, times 4096.

    The block is that of so many pixels from (top, left) on; the vector is in quarter pixels.
    Beyond its edge the plane goes on as the pixels at the edge.
    """
    v, h = down & 3, across & 3
    y, x = top + (down >> 2), left + (across >> 2)
    tall, wide = height, width
    if v != 0:
        y -= BEFORE
        tall += _MORE
    if h != 0:
        x -= BEFORE
        wide += _MORE
    if 0 <= y and y + tall <= plane.shape[0] and 0 <= x and 3 * (x + wide) <= plane.shape[1]:
        _filter(plane, y, 3 * x, height, 3 * width, v, h, room.rows, out)
    else:
        _take(plane, y, x, tall, wide, room.pixels)
        _filter(room.pixels, 0, 0, height, 3 * width, v, h, room.rows, out)


@kernel
def _filter(
    source: NDArray[np.uint8], y: Integer, x: Integer, height: Integer, count: Integer,
    v: Integer, h: Integer, rows: NDArray[np.int16], out: NDArray[np.int32],
) -> None:  # fmt: skip
    for r in range(height if v == 0 else height + _MORE):
        line, row = source[y + r, x:], rows[r]
        if h != 0:
            _across(line, count, h, row)
        elif v != 0:
            for i in range(count):
                row[i] = np.int16(line[i]) << FRACTION
        else:
            to = out[r]
            for i in range(count):
                to[i] = np.int32(line[i]) << 2 * FRACTION
    for r in range(height):
        if v != 0:
            _down(rows[r : r + TAPS], count, v, out[r])
        elif h != 0:
            row, to = rows[r], out[r]
            for i in range(count):
                to[i] = np.int32(row[i]) << FRACTION


@kernel
def _take(
    plane: NDArray[np.uint8], y: Integer, x: Integer, tall: Integer, wide: Integer,
    out: NDArray[np.uint8],
) -> None:  # fmt: skip
    last_row, last_column = plane.shape[0] - 1, plane.shape[1] // 3 - 1
    for r in range(tall):
        row = min(max(y + r, 0), last_row)
        for c in range(wide):
            column = 3 * min(max(x + c, 0), last_column)
            for k in range(3):
                out[r, 3 * c + k] = plane[row, column + k]


@kernel
def _across(
    line: NDArray[np.uint8], count: Integer, phase: Integer, out: NDArray[np.int16]
) -> None:
    # At most 88 * 255 and at least -24 * 255: 16 bits.
    a, b, c, d, e, f, g, h = FILTERS[phase]
    for i in range(count):
        out[i] = (
            a * line[i] + b * line[i + 3] + c * line[i + 6] + d * line[i + 9]
            + e * line[i + 12] + f * line[i + 15] + g * line[i + 18] + h * line[i + 21]
        )  # fmt: skip


@kernel
def _down(rows: NDArray[np.int16], count: Integer, phase: Integer, out: NDArray[np.int32]) -> None:
    a, b, c, d, e, f, g, h = FILTERS[phase]
    for i in range(count):
        out[i] = (
            a * rows[0, i] + b * rows[1, i] + c * rows[2, i] + d * rows[3, i]
            + e * rows[4, i] + f * rows[5, i] + g * rows[6, i] + h * rows[7, i]
        )  # fmt: skip
