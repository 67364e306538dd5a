"""The model of latents in integers: what both ends of a stream compute, to the last bit.

Latents have 4 fractional bits as contexts, the weights 9, hidden values 8 (in 15 bits, so that sums
fit 32), results 17: a mean in eighths of a step and a class of scales are their upper bits. The
weights of an item are those that all share, plus what it adds to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.inr.arm_kernels import AROUND, CLASSES, HIDDEN, INPUTS, KNOWN, NEIGHBOURS
from omnicodec.models.inr.pyramid import LARGEST, LEVELS, Plane, channels, sources
from omnicodec.models.kernels import Integer, inlined

Ints = NDArray[np.int32]

CONTEXT_BITS: Final = 4
WEIGHT_BITS: Final = 9
FIRST_BITS: Final = CONTEXT_BITS + WEIGHT_BITS
HIDDEN_BITS: Final = 8
OUT_BITS: Final = HIDDEN_BITS + WEIGHT_BITS
RATE_BITS: Final = 8

FRACTIONS: Final = {
    "first": WEIGHT_BITS,
    "first_bias": FIRST_BITS,
    "second": WEIGHT_BITS,
    "second_bias": OUT_BITS,
    "last": WEIGHT_BITS,
    "last_bias": OUT_BITS,
}
"""Fractional bits of each layer of a network, in the order of `Layers`."""

SHAPES: Final = {
    "first": (HIDDEN, INPUTS),
    "first_bias": (HIDDEN,),
    "second": (HIDDEN, HIDDEN),
    "second_bias": (HIDDEN,),
    "last": (2, HIDDEN + INPUTS),
    "last_bias": (2,),
}

# The largest integers of a weight and of a bias: with them no sum leaves 32 bits.
_WEIGHT_LIMITS: Final = {"first": 4095, "second": 2047, "last": 4095}
_BIAS_LIMIT: Final = 1 << 28

MOST_MEAN: Final = LARGEST * 8
"""Means are cut to the range of latents, in eighths."""

_HIDDEN_MOST: Final = (1 << 15) - 1
_HIDDEN_SHIFT: Final = FIRST_BITS - HIDDEN_BITS
_MEAN_SHIFT: Final = OUT_BITS - 3
_SKIP_SHIFT: Final = OUT_BITS - FIRST_BITS


class Layers(NamedTuple):
    """One plane's network as the loops read it: matrices `(inputs, outputs)`, but the last one."""

    first: Ints
    first_bias: Ints
    second: Ints
    second_bias: Ints
    last: Ints
    last_bias: Ints
    quiet: Ints
    """Mean and class where all contexts are 0, as they mostly are: nothing is computed there."""


class Room(NamedTuple):
    """Where the loops keep a latent's contexts and hidden values."""

    contexts: Ints
    hidden: Ints


def room_for() -> Room:
    """Return room that belongs to one thread."""
    return Room(np.zeros(INPUTS, np.int32), np.zeros(HIDDEN, np.int32))


def limited(name: str, values: NDArray[Any]) -> Ints:
    """Return a layer's integers, cut to what its sums can hold."""
    most = _WEIGHT_LIMITS.get(name, _BIAS_LIMIT)
    cut: Ints = np.clip(values, -most, most).astype(np.int32)
    return cut


def shared_arms(tensors: Mapping[str, NDArray[Any]], levels: int = LEVELS) -> dict[str, Ints]:
    """Return the integers of all scales' networks, `arms.SCALE.LAYER`: stacks of the planes'.

    Raises ValueError for what cannot be such networks.
    """
    arms = {}
    for scale, planes in enumerate(channels(levels)):
        for name, shape in {**SHAPES, "first_rate": (HIDDEN,)}.items():
            key = f"arms.{scale}.{name}"
            values = tensors.get(key)
            if values is None or values.shape != (planes, *shape) or values.dtype != np.int32:
                raise ValueError(f"the layers {key} are missing or of another kind")
            if (limited(name, values) != values).any():
                raise ValueError(f"the layers {key} are out of range")
            arms[key] = values
    return arms


def layers_at(
    arms: Mapping[str, Ints], plane: Plane, rate: int, updates: Mapping[str, Ints]
) -> Layers:
    """Return a plane's network at a rate (in 1/256), with an item's own part added to it.

    `updates` are stacks as `arms` has them, of some scales.
    """
    moved = {}
    for name in SHAPES:
        key = f"arms.{plane.scale}.{name}"
        values = arms[key][plane.channel].astype(np.int64)
        if name == "first_bias":
            slope = arms[f"arms.{plane.scale}.first_rate"][plane.channel].astype(np.int64)
            values = limited(name, values + (slope * rate >> RATE_BITS)).astype(np.int64)
        if key in updates:
            values = values + updates[key][plane.channel]
        moved[name] = limited(name, values)
    layers = {name: moved[name].astype(np.int32) for name in SHAPES}
    for name in ("first", "second"):
        layers[name] = np.ascontiguousarray(layers[name].T)
    net, room = Layers(**layers, quiet=np.zeros(2, np.int32)), room_for()
    net.quiet[:] = _concluded(net, room.contexts, room)
    return net


def around_exact(scales: Sequence[Ints], plane: Plane) -> Ints:
    """Return `arm.around` in integers of `CONTEXT_BITS` fractional bits, `(AROUND, h, w)`."""
    planes = np.zeros((AROUND, *scales[plane.scale].shape[1:]), np.int32)
    for k, source in enumerate(sources(plane)):
        if source is None:
            continue
        y = scales[source.scale][source.channel]
        seen = _box(np.abs(y)) << (CONTEXT_BITS - 3) if k else y << CONTEXT_BITS
        if source.scale != plane.scale:
            seen = seen.repeat(2, 0).repeat(2, 1)
        planes[k] = seen
    return planes


def _box(y: Ints) -> Ints:
    """Return the sum of 3x3 around each, zeros beyond the edge."""
    wide = np.pad(y, 1)
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    total: Ints = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return total


@inlined
def see_known(wide: Ints, r: Integer, c: Integer, room: Room) -> None:
    """Put the contexts from a latent's own plane into `room`."""
    for k in range(KNOWN):
        room.contexts[k] = wide[r + 2 + NEIGHBOURS[k, 0], c + 2 + NEIGHBOURS[k, 1]] << CONTEXT_BITS


@inlined
def predict(
    wide: Ints, around: Ints, r: Integer, c: Integer, net: Layers, room: Room
) -> tuple[Integer, Integer]:
    """Return the mean in eighths and the class of the latent at row `r`, column `c`.

    `wide` is the plane with 2 zeros above and beside it.
    """
    for k in range(AROUND):
        room.contexts[KNOWN + k] = around[k, r, c]
    return predict_between(wide, r, c, net, room)


@inlined
def predict_between(
    wide: Ints, r: Integer, c: Integer, net: Layers, room: Room
) -> tuple[Integer, Integer]:
    """Return what `predict` does, where the contexts from other planes are in `room` already."""
    see_known(wide, r, c, room)
    x = room.contexts
    some = np.int32(0)
    for k in range(INPUTS):
        some |= x[k]
    if some == 0:
        return np.int64(net.quiet[0]), np.int64(net.quiet[1])
    return _concluded(net, x, room)


@inlined
def _concluded(net: Layers, x: Ints, room: Room) -> tuple[Integer, Integer]:
    """Return the mean and the class that follow from contexts.

    Sums are written out, so that they stay in registers; most values are not 0, so that none is
    looked for.
    """
    h, w = room.hidden, net.first
    for j in range(HIDDEN):
        v: Integer = np.int32(
            net.first_bias[j]
            + w[0, j] * x[0] + w[1, j] * x[1] + w[2, j] * x[2] + w[3, j] * x[3]
            + w[4, j] * x[4] + w[5, j] * x[5] + w[6, j] * x[6] + w[7, j] * x[7]
            + w[8, j] * x[8] + w[9, j] * x[9] + w[10, j] * x[10] + w[11, j] * x[11]
            + w[12, j] * x[12] + w[13, j] * x[13] + w[14, j] * x[14] + w[15, j] * x[15]
        )  # fmt: skip
        h[j] = min(max(v >> _HIDDEN_SHIFT, 0), _HIDDEN_MOST)
    # Neither of these leaves 32 bits: 16 * 4095 * 18414 and 16 * 4095 * 32767 are less than 2**31.
    mean, which = np.int32(0), np.int32(0)
    for k in range(INPUTS):
        mean = np.int32(mean + net.last[0, HIDDEN + k] * x[k])
        which = np.int32(which + net.last[1, HIDDEN + k] * x[k])
    mean64 = (np.int64(mean) << _SKIP_SHIFT) + net.last_bias[0]
    which64 = (np.int64(which) << _SKIP_SHIFT) + net.last_bias[1]
    w = net.second
    mean, which = np.int32(0), np.int32(0)
    for j in range(HIDDEN):
        v = np.int32(
            net.second_bias[j]
            + w[0, j] * h[0] + w[1, j] * h[1] + w[2, j] * h[2] + w[3, j] * h[3]
            + w[4, j] * h[4] + w[5, j] * h[5] + w[6, j] * h[6] + w[7, j] * h[7]
            + w[8, j] * h[8] + w[9, j] * h[9] + w[10, j] * h[10] + w[11, j] * h[11]
            + w[12, j] * h[12] + w[13, j] * h[13] + w[14, j] * h[14] + w[15, j] * h[15]
        )  # fmt: skip
        v = np.int32(min(max(v >> WEIGHT_BITS, 0), _HIDDEN_MOST))
        mean = np.int32(mean + net.last[0, j] * v)
        which = np.int32(which + net.last[1, j] * v)
    mean64 = (mean64 + mean + (1 << (_MEAN_SHIFT - 1))) >> _MEAN_SHIFT
    which64 = (which64 + which + (1 << (OUT_BITS - 1))) >> OUT_BITS
    return min(max(mean64, -MOST_MEAN), MOST_MEAN), min(max(which64, 0), CLASSES - 1)
