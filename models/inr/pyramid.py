"""The planes of latents: the bands of a wavelet transform of a picture, from coarse to fine.

Five times a picture is halved. Each time its luma leaves three bands of details: across (H), down
(V) and both (D). Of colours the finest bands are left out, as they say little. What remains at the
end are three small pictures (L).

Latents are kept by scale: a list of arrays `(..., channels, h, w)`, coarse first. The first one has
the three small pictures, every other one the bands of one halving: those of luma, then those of the
two colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVELS: Final = 5
"""How often a picture is halved."""

ALIGN: Final = 1 << LEVELS
"""Sides are padded to multiples of this, so that halves are whole."""

COLOURS: Final = 3
BANDS: Final = 3

LARGEST: Final = 1023
"""Latents are cut to plus or minus this."""


class Plane(NamedTuple):
    """Where a plane is: the scale, and the channel in it."""

    scale: int
    channel: int


@cache
def channels(levels: int) -> tuple[int, ...]:
    """Return the planes of each scale, coarse first."""
    return (COLOURS, *[COLOURS * BANDS] * (levels - 1), BANDS)


@cache
def shifts(levels: int) -> tuple[int, ...]:
    """Return how often each scale is halved."""
    return (levels, *range(levels, 0, -1))


@cache
def planes(levels: int) -> tuple[Plane, ...]:
    """Return all planes in the order of coding."""
    return tuple(
        Plane(scale, channel)
        for scale, count in enumerate(channels(levels))
        for channel in range(count)
    )


CHANNELS: Final = channels(LEVELS)
SHIFTS: Final = shifts(LEVELS)
PLANES: Final = planes(LEVELS)
SCALES: Final = len(CHANNELS)
"""What pictures have. Other levels, where functions take them, are those of `residual`."""

SIZES_AROUND: Final = 3
"""How many planes tell a latent how large it will be; see `sources`."""


def sources(plane: Plane) -> tuple[Plane | None, ...]:
    """Return the planes, coded before this one, that its model looks at around a latent.

    Of the first it sees the value there, of `SIZES_AROUND` others how large values around it are.
    Planes of the scale above are seen at twice their size.
    """
    scale, channel = plane
    if scale == 0:
        return (Plane(0, channel - 1) if channel else None, None, None, None)
    colour, band = divmod(channel, BANDS)
    above = [Plane(scale - 1, colour * BANDS + b) if scale > 1 else None for b in range(BANDS)]
    here = [Plane(scale, colour * BANDS + b) for b in range(BANDS)]
    if colour:
        luma = [Plane(scale, b) for b in range(BANDS)]
        beside = here[band - 1] if band else Plane(scale, channel - BANDS)
        other = luma[band] if band or colour > 1 else luma[1]
        return (luma[band], above[band], beside, other)
    pair = ((above[1], above[2]), (here[0], above[2]), (here[1], here[0]))[band]
    return (above[band], above[band], *pair)


def padded(height: int, width: int, levels: int = LEVELS) -> tuple[int, int]:
    """Return the sides that a picture of this size is padded to."""
    align = 1 << levels
    return -(-height // align) * align, -(-width // align) * align


def shapes(height: int, width: int, levels: int = LEVELS) -> list[tuple[int, int, int]]:
    """Return `(channels, h, w)` of each scale, coarse first; the sides are padded ones."""
    pairs = zip(channels(levels), shifts(levels), strict=True)
    return [(count, height >> shift, width >> shift) for count, shift in pairs]


def positions(height: int, width: int) -> int:
    """Return how many latents a picture has."""
    return sum(c * h * w for c, h, w in shapes(height, width))


def join(scales: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the arrays of all scales as one row in the order of coding: planes, by rows."""
    return np.concatenate([scale.reshape(-1) for scale in scales])


def split(row: NDArray[Any], height: int, width: int) -> list[NDArray[Any]]:
    """Return the scales of a row that `join` made, as views."""
    scales: list[NDArray[Any]] = []
    start = 0
    for shape in shapes(height, width):
        stop = start + int(np.prod(shape))
        scales.append(row[start:stop].reshape(shape))
        start = stop
    return scales
