"""Compiled loops of the prior of `video/inr`: activity and latents of a predicted frame."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.rans import FRACTIONS, Distributions, put, take
from omnicodec.models.inr.exact_arm import Ints, Layers, Room, predict_between
from omnicodec.models.inr.pyramid import LARGEST
from omnicodec.models.inr.residual_planes import Active, Around, see
from omnicodec.models.kernels import Integer, inlined, kernel

CONTEXTS: Final = FRACTIONS
"""Contexts of activity, which take the places of the fractions of one class."""

_HALF: Final = FRACTIONS // 2


@inlined
def context(active: Active, r: Integer, c: Integer) -> Integer:
    """Return 0 to 7: whether the blocks before, above and diagonally above are active."""
    columns = active.shape[1]
    found = 0
    if c > 0 and active[r, c - 1]:
        found += 1
    if r > 0:
        if active[r - 1, c]:
            found += 2
        if (c > 0 and active[r - 1, c - 1]) or (c + 1 < columns and active[r - 1, c + 1]):
            found += 4
    return found


@kernel
def count_activity(active: Active, counts: NDArray[np.int64]) -> None:
    """Add up how often blocks are inactive and active, `(CONTEXTS, 2)`."""
    for r in range(active.shape[0]):
        for c in range(active.shape[1]):
            counts[context(active, r, c), int(active[r, c])] += 1


@kernel
def put_activity(tables: Distributions, active: Active, codes: NDArray[np.uint32]) -> Integer:
    count = 0
    for r in range(active.shape[0]):
        for c in range(active.shape[1]):
            mean = np.int64(context(active, r, c) - _HALF)
            count = put(codes, count, tables, 0, mean, np.int64(active[r, c]))
    return count


@kernel
def take_activity(
    tables: Distributions, words: NDArray[np.uint16], state: NDArray[np.int64], active: Active
) -> bool:
    x, at, good = state[0], state[1], True
    for r in range(active.shape[0]):
        for c in range(active.shape[1]):
            mean = np.int64(context(active, r, c) - _HALF)
            x, at, value = take(x, at, words, tables, 0, mean)
            if value < 0 or value > 1:
                good = False
            active[r, c] = value == 1
    state[0], state[1] = x, at
    return good


@kernel
def put_plane(
    tables: Distributions,
    active: Active,
    side: Integer,
    wide: Ints,
    around: Around,
    net: Layers,
    room: Room,
    codes: NDArray[np.uint32],
) -> Integer:
    count = 0
    for r in range(wide.shape[0] - 3):
        for b in range(active.shape[1]):
            if active[r // side, b]:
                for c in range(b * side, (b + 1) * side):
                    see(around, r, c, room)
                    mean, which = predict_between(wide, r, c, net, room)
                    value = np.int64(wide[r + 2, c + 2])
                    count = put(codes, count, tables, which, mean, value)
    return count


@kernel
def take_plane(
    tables: Distributions,
    active: Active,
    side: Integer,
    wide: Ints,
    around: Around,
    net: Layers,
    room: Room,
    words: NDArray[np.uint16],
    state: NDArray[np.int64],
) -> bool:
    x, at, good = state[0], state[1], True
    for r in range(wide.shape[0] - 3):
        for b in range(active.shape[1]):
            if active[r // side, b]:
                for c in range(b * side, (b + 1) * side):
                    see(around, r, c, room)
                    mean, which = predict_between(wide, r, c, net, room)
                    x, at, value = take(x, at, words, tables, which, mean)
                    if abs(value) > LARGEST:
                        good, value = False, np.int64(0)
                    wide[r + 2, c + 2] = value
    state[0], state[1] = x, at
    return good
