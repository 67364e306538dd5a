"""Compiled loops of the prior of `image/rate`: latents into the entropy coder, and out of it."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.rans import Distributions, put, take
from omnicodec.models.image.rate_contexts import (
    FIRST,
    FIRST_INPUTS,
    MAX_MEAN,
    compand,
    predict_first,
)
from omnicodec.models.image.rate_networks import FirstNetwork, run_first
from omnicodec.models.image.rate_prior import OUT
from omnicodec.models.kernels import Integer, kernel

_MEAN_SHIFT: Final = OUT - 3
_MEAN_HALF: Final = 1 << (_MEAN_SHIFT - 1)
_CLASS_HALF: Final = 1 << (OUT - 1)


class Model(NamedTuple):
    """What the loops read.

    `largest` int64 `(C,)` are the largest latents of each channel; `prediction` int32 `(24, 6)`.
    """

    tables: Distributions
    largest: NDArray[np.int64]
    prediction: NDArray[np.int32]
    first: FirstNetwork


class Wire(NamedTuple):
    """Both ends of the entropy coder, of which one is used.

    Decoding reads `words` from `state`; encoding appends to `codes`, whose number so far is
    `written[0]`.
    """

    encoding: bool
    words: NDArray[np.uint16]
    state: NDArray[np.int64]
    codes: NDArray[np.uint32]
    written: NDArray[np.int64]


@kernel
def to_latents(ids: NDArray[np.int32], y: NDArray[np.int16]) -> None:
    """Put ids `(C, n)` as latents into `y` `(n, C)`: 0, 1, 2, 3, 4 are 0, 1, -1, 2, -2."""
    for p in range(y.shape[0]):
        for c in range(y.shape[1]):
            code = ids[c, p]
            y[p, c] = (code + 1) >> 1 if code & 1 else -(code >> 1)


@kernel
def to_ids(y: NDArray[np.int16], ids: NDArray[np.int32]) -> None:
    """Undo `to_latents`."""
    for p in range(y.shape[0]):
        for c in range(y.shape[1]):
            value = np.int32(y[p, c])
            ids[c, p] = 2 * value - 1 if value > 0 else -2 * value


@kernel
def scale_and_mean(
    model: Model, offset: Integer, scale: Integer, mean: Integer
) -> tuple[Integer, Integer]:
    """Return the class, and the mean in eighths, for a network's two results for a latent.

    `mean`, in eighths, is what the offset is added to.
    """
    which: Integer = (np.int64(scale) + _CLASS_HALF) >> OUT
    which = min(max(which, 0), model.tables.shifts.size - 1)
    mean += (np.int64(offset) + _MEAN_HALF) >> _MEAN_SHIFT
    return which, min(max(mean, -MAX_MEAN), MAX_MEAN)


@kernel
def code_first(
    model: Model,
    wire: Wire,
    y: NDArray[np.int16],
    e: NDArray[np.int8],
    start: Integer,
    width: Integer,
    quality: NDArray[np.int8],
) -> bool:
    """Code the first group of a chunk, position by position; see `code_group`."""
    x = np.zeros(FIRST_INPUTS, np.int32)
    hidden = np.zeros(model.first.enter_bias.size, np.int32)
    inner = np.zeros(model.first.expand_bias.size, np.int32)
    out = np.zeros(2 * FIRST, np.int32)
    means = np.zeros(FIRST, np.int64)
    state, at, count = wire.state[0], wire.state[1], wire.written[0]
    good = True
    for p in range(y.shape[0]):
        predict_first(y, p, start, width, model.prediction, quality, means, x)
        run_first(model.first, x, hidden, inner, out)
        for c in range(FIRST):
            which, mean = scale_and_mean(model, out[c], out[FIRST + c], means[c])
            if wire.encoding:
                count = put(wire.codes, count, model.tables, which, mean, np.int64(y[p, c]))
                continue
            state, at, value = take(state, at, wire.words, model.tables, which, mean)
            if abs(value) > model.largest[c]:
                good, value = False, np.int64(0)
            y[p, c] = value
            e[p, c] = compand(value)
    wire.state[0], wire.state[1], wire.written[0] = state, at, count
    return good


@kernel
def code_group(
    model: Model,
    wire: Wire,
    y: NDArray[np.int16],
    e: NDArray[np.int8],
    positions: NDArray[np.int64],
    results: NDArray[np.int16],
    known: Integer,
) -> bool:
    """Code one group at some positions of a chunk, given its network's results there.

    `y` int16 `(n, C)` are the latents and `e` the same companded: read where the wire is
    encoding, else written. `results` is `(m, 2 * channels)`; the group's first channel is
    `known`. Returns False where a latent would be out of its range; it becomes 0 then.
    """
    channels = results.shape[1] // 2
    stop = known + channels
    good = True
    count = wire.written[0]
    for i in range(positions.size):
        p = positions[i]
        offsets, scales = results[i, :channels], results[i, channels:]
        if wire.encoding:
            count = _put_row(model, wire.codes, count, y[p, known:stop], offsets, scales)
        else:
            largest = model.largest[known:stop]
            good &= _take_row(
                model, wire, y[p, known:stop], e[p, known:stop], offsets, scales, largest
            )
    wire.written[0] = count
    return good


@kernel
def _put_row(
    model: Model,
    codes: NDArray[np.uint32],
    count: Integer,
    y: NDArray[np.int16],
    offsets: NDArray[np.int16],
    scales: NDArray[np.int16],
) -> Integer:
    """Append the codes of a group at one position; return how many there are now."""
    for k in range(y.size):
        which, mean = scale_and_mean(model, offsets[k], scales[k], np.int64(0))
        count = put(codes, count, model.tables, which, mean, np.int64(y[k]))
    return count


@kernel
def _take_row(
    model: Model,
    wire: Wire,
    y: NDArray[np.int16],
    e: NDArray[np.int8],
    offsets: NDArray[np.int16],
    scales: NDArray[np.int16],
    largest: NDArray[np.int64],
) -> bool:
    """Read a group at one position into `y`, and companded into `e`; False if out of range."""
    state, at = wire.state[0], wire.state[1]
    good = True
    for k in range(y.size):
        which, mean = scale_and_mean(model, offsets[k], scales[k], np.int64(0))
        state, at, value = take(state, at, wire.words, model.tables, which, mean)
        if abs(value) > largest[k]:
            good, value = False, np.int64(0)
        y[k] = value
        e[k] = compand(value)
    wire.state[0], wire.state[1] = state, at
    return good
