"""Planes of a residual's latents where only some blocks have any: contexts, and choice of latents.

A plane is kept with zeros around it, `(h + 3, w + 4)`: two above and beside, one below. What is
around a latent is looked at when it is needed, as most blocks of most frames have no latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.arm_kernels import CLASSES, KNOWN, LEAST, RATIO
from omnicodec.models.inr.exact_arm import (
    CONTEXT_BITS,
    Ints,
    Layers,
    Room,
    predict_between,
    see_known,
)
from omnicodec.models.inr.pyramid import LARGEST, Plane, planes, shapes, sources
from omnicodec.models.inr.residual import BLOCK, LEVELS
from omnicodec.models.kernels import Integer, inlined, kernel

Active = NDArray[np.bool_]

PLANES: Final = planes(LEVELS)

_FAR: Final = 1 << 11
"""Distances from the mean, in eighths, whose costs are kept."""


class Around(NamedTuple):
    """What a plane sees of others: its `sources`, and 1 where one is seen at twice its size.

    -1 stands for a source that is not there.
    """

    first: Ints
    second: Ints
    third: Ints
    fourth: Ints
    ups: Ints


def empty_planes(height: int, width: int) -> list[Ints]:
    """Return the planes of a frame without latents, in their order; the sides are padded ones."""
    scales = shapes(height, width, LEVELS)
    return [
        np.zeros((scales[plane.scale][1] + 3, scales[plane.scale][2] + 4), np.int32)
        for plane in PLANES
    ]


def scales_of(wide: Sequence[Ints]) -> list[Ints]:
    """Return planes as scales `(C, h, w)`, coarse first."""
    scales: list[list[Ints]] = [[] for _ in range(LEVELS + 1)]
    for plane, y in zip(PLANES, wide, strict=True):
        scales[plane.scale].append(y[2:-1, 2:-2])
    return [np.stack(some) for some in scales]


def around_of(wide: Sequence[Ints], which: int) -> Around:
    """Return what the plane with an index sees of those before it."""
    plane = PLANES[which]
    found: list[Ints] = []
    ups = np.full(4, -1, np.int32)
    for k, source in enumerate(sources(plane)):
        if source is not None:
            ups[k] = plane.scale - source.scale
        found.append(wide[0 if source is None else PLANES.index(source)])
    first, second, third, fourth = found
    return Around(first, second, third, fourth, ups)


def side_of(plane: Plane) -> int:
    """Return how many latents of a plane a block has, a side."""
    return BLOCK >> (LEVELS if plane.scale == 0 else LEVELS + 1 - plane.scale)


def cost_table() -> NDArray[np.float32]:
    """Return the bits `(CLASSES, distance)` of a latent so many eighths from its mean."""
    scales = LEAST * RATIO ** np.arange(CLASSES)[:, None]
    away = np.arange(_FAR)[None] / 8
    near = 1 - 0.5 * (np.exp(np.minimum(away - 0.5, 0) / scales) + np.exp(-(away + 0.5) / scales))
    beyond = (away - 0.5) / scales - np.log(0.5 * -np.expm1(-1 / scales))
    nats = np.where(away < 0.5, -np.log(np.maximum(near, 1e-12)), beyond)
    return np.ascontiguousarray(nats / np.log(2), np.float32)


@inlined
def see(around: Around, r: Integer, c: Integer, room: Room) -> None:
    """Put the contexts from other planes into `room`."""
    x = room.contexts
    up = around.ups[0]
    x[KNOWN] = 0
    if up >= 0:
        x[KNOWN] = around.first[2 + (r >> up), 2 + (c >> up)] << CONTEXT_BITS
    x[KNOWN + 1] = _size(around.second, around.ups[1], r, c)
    x[KNOWN + 2] = _size(around.third, around.ups[2], r, c)
    x[KNOWN + 3] = _size(around.fourth, around.ups[3], r, c)


@inlined
def _size(plane: Ints, up: Integer, r: Integer, c: Integer) -> Integer:
    """Return the mean size of 3x3 around, divided by 8 instead of 9."""
    if up < 0:
        return 0
    row, column = 1 + (r >> up), 1 + (c >> up)
    total = 0
    for i in range(3):
        for j in range(3):
            total += abs(plane[row + i, column + j])
    return total << (CONTEXT_BITS - 3)


@kernel
def choose(
    values: NDArray[np.float32],
    active: Active,
    side: Integer,
    wide: Ints,
    around: Around,
    net: Layers,
    room: Room,
    costs: NDArray[np.float32],
    weight: float,
    bits: NDArray[np.float32],
    gain: NDArray[np.float32],
) -> None:
    """Write to a plane the latents whose squared error and bits, times `weight`, are least.

    `values` are what they stand for, in steps; blocks that are not active have none. Adds the bits
    of each block, and by how much its squared error is less than without latents.
    """
    for r in range(values.shape[0]):
        for b in range(active.shape[1]):
            if not active[r // side, b]:
                continue
            for c in range(b * side, (b + 1) * side):
                see(around, r, c, room)
                mean, which = predict_between(wide, r, c, net, room)
                v = values[r, c]
                a = abs(v)
                best, most = 0, a * a + weight * costs[which, min(abs(mean), _FAR - 1)]
                cost = most
                largest = min(int(a + np.float32(0.5)), LARGEST)
                for k in range(max(1, largest - 1), largest + 1):
                    near = k if v > 0 else -k
                    apart = min(abs(8 * near - mean), _FAR - 1)
                    cost = (a - k) * (a - k) + weight * costs[which, apart]
                    if cost < most:
                        best, most = near, cost
                wide[r + 2, c + 2] = best
                error = (v - best) * (v - best)
                gain[r // side, b] += a * a - error
                bits[r // side, b] += (most - error) / weight


@kernel
def contexts_of(
    wide: Ints, around: Around, active: Active, side: Integer, room: Room, found: Ints
) -> Integer:
    """Write to rows of `found` `(n, INPUTS + 1)` contexts and value of each latent; return n."""
    count = 0
    height = wide.shape[0] - 3
    for r in range(height):
        for b in range(active.shape[1]):
            if active[r // side, b]:
                for c in range(b * side, (b + 1) * side):
                    see(around, r, c, room)
                    see_known(wide, r, c, room)
                    for k in range(room.contexts.shape[0]):
                        found[count, k] = room.contexts[k]
                    found[count, room.contexts.shape[0]] = wide[r + 2, c + 2]
                    count += 1
    return count
