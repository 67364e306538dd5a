"""Coding of the motion of frames: one choice a block, and what vectors differ by from the likely.

Block by block, by rows:

1. The kind: the mode, and whether the vectors are as predicted, others, or those of quarters.
   Its table follows from the kinds of the blocks to the left and above, and from whether the
   vectors around agree. Where all is alike, it takes a small fraction of a bit.
2. Unless they are as predicted, the vectors of the block or of its quarters: for each reference
   that the mode uses, down, then across, as differences from the prediction. Their tables follow
   from how much the neighbours differ and from what came just before.

The prediction is the median of neighbours (`models/inr/motion/vectors.py`); the second vector of a
mean is predicted to differ from it as the first did, the other way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.prior.rans import (
    BUCKETS,
    FRACTIONS,
    SYMBOLS,
    TOTAL,
    Codes,
    Distributions,
    Source,
    distributions,
    put,
    take,
)
from omnicodec.codecs.prior.static import quantize_counts
from omnicodec.models.inr.motion.field import LARGEST, MEAN, Ints, Motion
from omnicodec.models.inr.motion.vectors import fill, predicted
from omnicodec.models.kernels import Integer, kernel

_SAME: Final = 0
_OTHER: Final = 1
_SPLIT: Final = 2
_SHAPES: Final = 3
"""Kinds are `3 * mode + shape`."""

# Contexts: tables of kinds for one reference and for two, then those of differences. The eight
# fractions that a class of `rans` has tables for are eight contexts here.
_DOUBLE: Final = 32
_CALM_DOUBLE: Final = _DOUBLE + 81
"""Where all blocks around are as predicted and of one mode: modes count from that one."""

_VECTORS: Final = _DOUBLE + 88
_SETS: Final = 6
_SET: Final = 24
"""Contexts of a set of differences: 16 of calm neighbours, 8 of others, whose values are large."""

CONTEXTS: Final = _VECTORS + _SETS * _SET

_WILD_SHIFT: Final = 2
_MOST: Final = 1 + 4 * 2 * 2
"""Values of a block at most."""

_TRUST: Final = 16
"""Values that all contexts of a group together count for in each of them."""


_AROUND: Final = np.array([[0, -1], [0, -2], [-1, -1], [-1, 0], [-1, 1], [-2, 0]], np.int64)


class MotionPrior:
    """Puts motion into a stream of rANS and takes it from there.

    An instance may be shared between threads.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take `motion_frequencies`, int32 `(CONTEXTS / 8, 8, 33)`, as `fit_motion` makes them.

        Raises ValueError for others.
        """
        if "motion_frequencies" not in tensors:
            raise ValueError("tensors are missing: motion_frequencies")
        frequencies = np.asarray(tensors["motion_frequencies"])
        if frequencies.shape != (CONTEXTS // FRACTIONS, FRACTIONS, SYMBOLS):
            raise ValueError(f"{frequencies.shape} are not the tables of motion")
        self._tables = distributions(frequencies, _shifts())

    def encode(self, motion: Motion, codes: Codes) -> None:
        """Add the codes of motion.

        Raises `InvalidInput` for motion that is not what `Motion.from_row` would make of its
        row: with vectors that no mode uses, or out of range.
        """
        pairs = _pairs(motion)
        room = codes.room(len(pairs))
        codes.add(room, _put_pairs(self._tables, pairs, room))

    def decode(self, source: Source, height: int, width: int, references: int) -> Motion:
        """Return the motion of a frame of this size that stands next in a stream.

        Raises `CorruptStream` where there can be none.
        """
        motion = Motion.still(height, width, references)
        state = np.array([*source.state, 0, 0], np.int64)
        coder = _Coder(self._tables, source.words, state, np.empty((0, 2), np.int32))
        _walk(coder, True, motion.modes, motion.vectors, np.zeros_like(motion.vectors))
        source.state[:] = state[:2]
        if state[3]:
            raise CorruptStream("entropy-coded data is invalid")
        return motion

    def bits(self, motion: Motion) -> float:
        """Return how many bits motion takes, but for the rounding of rANS."""
        pairs = _pairs(motion).astype(np.int64)
        classes, symbols = pairs[:, 0] >> 3, _symbols(pairs)
        shares = np.diff(self._tables.bounds, axis=1)[pairs[:, 0], symbols] / TOTAL
        shifts = self._tables.shifts[classes]
        r = pairs[:, 1]
        outside = np.where(r >= 0, 2 * r, -1 - 2 * r) - (BUCKETS << shifts) + 1
        escapes = 4 + np.floor(np.log2(np.maximum(outside, 1)))
        raw = np.where(symbols == BUCKETS, escapes, shifts)
        return float((raw - np.log2(shares)).sum())


def fit_motion(motions: Iterable[Motion]) -> dict[str, NDArray[np.int32]]:
    """Return what a `MotionPrior` is made of, with tables that suit some motions.

    A table is fitted to the values in its context, and to those of its group as if there were
    some more of them. Without any motion, tables are even.
    """
    counts = np.zeros((CONTEXTS, SYMBOLS), np.int64)
    for motion in motions:
        pairs = _pairs(motion).astype(np.int64)
        np.add.at(counts, (pairs[:, 0], _symbols(pairs)), 1)
    # Times 4096, so that the one that `quantize_counts` adds to each count is next to nothing.
    scaled = counts << 12
    edges = [0, _DOUBLE, _VECTORS]
    edges += [_VECTORS + _SET * n + part for n in range(_SETS) for part in (16, _SET)]
    for start, stop in pairwise(edges):
        group = counts[start:stop].sum(0)
        scaled[start:stop] += (_TRUST << 12) * group // max(1, int(group.sum()))
    tables = np.stack([quantize_counts(row, TOTAL) for row in scaled])
    shape = CONTEXTS // FRACTIONS, FRACTIONS, SYMBOLS
    return {"motion_frequencies": tables.reshape(shape).astype(np.int32)}


def _shifts() -> NDArray[np.int64]:
    """Return the shift of each class: differences among wild neighbours come in fours."""
    shifts = np.zeros(CONTEXTS // FRACTIONS, np.int64)
    shifts[(_VECTORS + 16) // FRACTIONS :: _SET // FRACTIONS] = _WILD_SHIFT
    return shifts


def _symbols(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    buckets = (pairs[:, 1] >> _shifts()[pairs[:, 0] >> 3]) + BUCKETS // 2
    return np.where((buckets >= 0) & (buckets < BUCKETS), buckets, BUCKETS)


def _pairs(motion: Motion) -> NDArray[np.int32]:
    """Return the context and the value of all that is coded, in order, `(n, 2)`."""
    modes, vectors = motion.modes, motion.vectors
    good = modes.size == 0 or (
        modes.min() >= 0
        and modes.max() <= (MEAN if motion.references == 2 else 0)
        and np.abs(vectors).max() <= LARGEST
        and not vectors[~motion.used()].any()
    )
    if not good:
        raise InvalidInput("motion has vectors that are not used, or is out of range")
    pairs = np.empty((modes.size * _MOST, 2), np.int32)
    coder = _Coder(_UNUSED, np.empty(0, np.uint16), np.zeros(4, np.int64), pairs)
    field = np.zeros_like(vectors)
    _walk(coder, False, np.ascontiguousarray(modes), np.ascontiguousarray(vectors), field)
    return pairs[: coder.state[2]]


class _Coder(NamedTuple):
    """One end of a stream: a decoder reads `words`, an encoder collects `pairs`.

    `state` is that of a `Source`, then the number of pairs, then whether anything was wrong.
    """

    tables: Distributions
    words: NDArray[np.uint16]
    state: NDArray[np.int64]
    pairs: NDArray[np.int32]


_UNUSED: Final = Distributions(
    np.zeros((1, SYMBOLS + 1), np.int32), np.zeros((1, 256), np.uint8), np.zeros(1, np.int64)
)


@kernel
def _put_pairs(
    tables: Distributions, pairs: NDArray[np.int32], codes: NDArray[np.uint32]
) -> Integer:
    count = 0
    for i in range(pairs.shape[0]):
        context = np.int64(pairs[i, 0])
        # Rounding takes this mean to 0 and to the fraction that the context is.
        count = put(codes, count, tables, context >> 3, (context & 7) - 4, np.int64(pairs[i, 1]))
    return count


@kernel
def _step(coder: _Coder, decoding: bool, context: Integer, value: Integer) -> Integer:
    """Return the next value: what is read, or `value`, which is noted."""
    state = coder.state
    if decoding:
        state[0], state[1], value = take(
            state[0], state[1], coder.words, coder.tables, context >> 3, (context & 7) - 4
        )
        return value
    coder.pairs[state[2], 0] = context
    coder.pairs[state[2], 1] = value
    state[2] += 1
    return value


@kernel
def _walk(coder: _Coder, decoding: bool, modes: Ints, vectors: Ints, field: Ints) -> None:
    """Go through motion as it is coded, reading it or noting it.

    The one place that knows the order of values and their contexts.
    """
    references = vectors.shape[0]
    shapes = np.zeros(modes.shape, np.int32)
    for row in range(modes.shape[0]):
        for column in range(modes.shape[1]):
            r, c = 2 * row, 2 * column
            kind = np.int64(0)
            if not decoding:
                kind = _kind(modes, vectors, field, row, column)
            context = _kind_context(modes, shapes, field, row, column)
            turn = max(context - _CALM_DOUBLE, 0) if context < _VECTORS else 0
            kind = _step(coder, decoding, context - turn, _turned(kind, -turn))
            if not 0 <= kind < _SHAPES * (MEAN * (references - 1) + 1):
                coder.state[3] = 1
                kind = np.int64(0)
            kind = _turned(kind, turn)
            mode, shape = kind // _SHAPES, kind % _SHAPES
            modes[row, column], shapes[row, column] = mode, shape
            if shape == _SPLIT:
                for q in range(4):
                    _vectors(
                        coder, decoding, mode, shape, q, r + q // 2, c + q % 2, 1, vectors, field
                    )
            else:
                _vectors(coder, decoding, mode, shape, 0, r, c, 2, vectors, field)


@kernel
def _vectors(
    coder: _Coder, decoding: bool, mode: Integer, shape: Integer, quarter: Integer,
    r: Integer, c: Integer, size: Integer, vectors: Ints, field: Ints,
) -> None:  # fmt: skip
    """Code the vectors of a block, or of a quarter, if they are not as predicted."""
    first_down, first_across = np.int64(0), np.int64(0)  # differences of the first reference
    for k in range(field.shape[0]):
        down, across, spread = predicted(field, k, r, c, size)
        if mode not in (k, MEAN):
            fill(field, k, r, c, size, down, across)
            continue
        down = min(max(down - first_down, -LARGEST), LARGEST)
        across = min(max(across - first_across, -LARGEST), LARGEST)
        v, h = np.int64(0), np.int64(0)
        if shape != _SAME:
            if not decoding:
                v, h = vectors[k, r, c, 0] - down, vectors[k, r, c, 1] - across
            which = 0
            if shape == _SPLIT:
                which = 4 if quarter == 0 else 5
            elif mode == MEAN:
                which = 1 if k == 0 else (2 if first_down == 0 and first_across == 0 else 3)
            v = _step(coder, decoding, _down_context(which, spread), v)
            h = _step(coder, decoding, _across_context(which, spread, v), h)
        if mode == MEAN and k == 0:
            first_down, first_across = v, h
        down, across = down + v, across + h
        if max(abs(down), abs(across)) > LARGEST:
            coder.state[3] = 1
            down, across = np.int64(0), np.int64(0)
        fill(field, k, r, c, size, down, across)
        if decoding:
            fill(vectors, k, r, c, size, down, across)


@kernel
def _kind(modes: Ints, vectors: Ints, field: Ints, row: Integer, column: Integer) -> Integer:
    """Return the kind of a block that is known."""
    mode, shape = np.int64(modes[row, column]), _SAME
    r, c = 2 * row, 2 * column
    for k in range(vectors.shape[0]):
        if mode not in (k, MEAN):
            continue
        down, across, _ = predicted(field, k, r, c, 2)
        if vectors[k, r, c, 0] != down or vectors[k, r, c, 1] != across:
            shape = max(shape, _OTHER)
        for q in range(1, 4):
            i, j = r + q // 2, c + q % 2
            for a in range(2):
                if vectors[k, i, j, a] != vectors[k, r, c, a]:
                    shape = _SPLIT
    return _SHAPES * mode + shape


@kernel
def _kind_context(modes: Ints, shapes: Ints, field: Ints, row: Integer, column: Integer) -> Integer:
    # Beyond the edge is what is on the other side, or else a block of the first reference.
    left_mode, left = np.int64(0), np.int64(_SAME)
    if column > 0:
        left_mode, left = np.int64(modes[row, column - 1]), np.int64(shapes[row, column - 1])
    above_mode, above = left_mode, left
    if row > 0:
        above_mode, above = np.int64(modes[row - 1, column]), np.int64(shapes[row - 1, column])
        if column == 0:
            left_mode, left = above_mode, above
    spread = 0
    for k in range(field.shape[0]):
        spread += predicted(field, k, 2 * row, 2 * column, 2)[2]
    agree = 0 if spread == 0 else (1 if spread <= 4 else 2)
    if agree == 0 and _calm(modes, shapes, row, column):
        return 27 if field.shape[0] == 1 else _CALM_DOUBLE + left_mode
    if field.shape[0] == 1:
        return 9 * agree + 3 * left + above
    busy = np.int64(left != _SAME) + np.int64(above != _SAME)
    return _DOUBLE + 27 * agree + 9 * busy + 3 * left_mode + above_mode


@kernel
def _turned(kind: Integer, turn: Integer) -> Integer:
    """Return a kind with another mode: so many further, in a circle."""
    if turn == 0:
        return kind
    return _SHAPES * ((kind // _SHAPES + turn) % 3) + kind % _SHAPES


@kernel
def _calm(modes: Ints, shapes: Ints, row: Integer, column: Integer) -> bool:
    """Return whether all blocks around, also the second to the left and above, are alike."""
    mode, first = np.int64(0), True
    for k in range(_AROUND.shape[0]):
        r, c = row + _AROUND[k, 0], column + _AROUND[k, 1]
        if r < 0 or not 0 <= c < modes.shape[1]:
            continue
        if shapes[r, c] != _SAME or (not first and modes[r, c] != mode):
            return False
        mode, first = np.int64(modes[r, c]), False
    return True


@kernel
def _down_context(which: Integer, spread: Integer) -> Integer:
    size = _size(spread)
    return _VECTORS + _SET * which + (size if size < 4 else 16 + size - 4)


@kernel
def _across_context(which: Integer, spread: Integer, down: Integer) -> Integer:
    size = _size(spread)
    moved = 0 if down == 0 else (1 if abs(down) <= 3 else 2)
    start = _VECTORS + _SET * which
    return start + (4 + 3 * size + moved if size < 4 else 18 + 3 * (size - 4) + moved)


@kernel
def _size(spread: Integer) -> Integer:
    if spread <= 2:
        return 0 if spread == 0 else 1
    if spread <= 16:
        return 2 if spread <= 6 else 3
    return 4 if spread <= 40 else 5
