"""Latents of `models.inr` into a stream of rANS, plane by plane, and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.rans import Codes, Distributions, Source, put, take
from omnicodec.models.inr.exact_arm import (
    Ints,
    Layers,
    Room,
    around_exact,
    layers_at,
    predict,
    room_for,
)
from omnicodec.models.inr.pyramid import LARGEST, Plane, planes
from omnicodec.models.kernels import Integer, kernel


def put_integers(codes: Codes, tables: Distributions, which: int, values: Ints) -> None:
    """Add integers around 0 that all have one class."""
    room = codes.room(values.size)
    codes.add(room, _put_integers(tables, which, values, room))


def take_integers(source: Source, tables: Distributions, which: int, values: Ints) -> bool:
    """Fill `values`; return whether all of them are in range."""
    return bool(_take_integers(tables, which, source.words, source.state, values))


def put_scales(
    codes: Codes,
    tables: Distributions,
    arms: Mapping[str, Ints],
    rate: int,
    scales: Sequence[Ints],
    updates: Mapping[str, Ints],
) -> None:
    """Add the latents of scales `(C, h, w)`, as `exact_arm` predicts them."""
    for plane in planes(len(scales) - 1):
        wide, around, net = _open(scales, plane, arms, rate, updates)
        wide[2:, 2:-2] = scales[plane.scale][plane.channel]
        room = codes.room(scales[plane.scale][plane.channel].size)
        codes.add(room, _put_plane(tables, wide, around, net, room_for(), room))


def take_scales(
    source: Source,
    tables: Distributions,
    arms: Mapping[str, Ints],
    rate: int,
    scales: Sequence[Ints],
    updates: Mapping[str, Ints],
) -> bool:
    """Fill scales; return whether all latents are in range."""
    good = True
    for plane in planes(len(scales) - 1):
        wide, around, net = _open(scales, plane, arms, rate, updates)
        good &= _take_plane(tables, wide, around, net, room_for(), source.words, source.state)
        scales[plane.scale][plane.channel] = wide[2:, 2:-2]
    return good


def _open(
    scales: Sequence[Ints],
    plane: Plane,
    arms: Mapping[str, Ints],
    rate: int,
    updates: Mapping[str, Ints],
) -> tuple[Ints, Ints, Layers]:
    """Return a plane that is still empty, with its borders, its contexts and its network."""
    height, width = scales[plane.scale].shape[1:]
    net = layers_at(arms, plane, rate, updates)
    return np.zeros((height + 2, width + 4), np.int32), around_exact(scales, plane), net


@kernel
def _put_integers(
    tables: Distributions, which: Integer, values: Ints, codes: NDArray[np.uint32]
) -> Integer:
    count = 0
    for i in range(values.size):
        count = put(codes, count, tables, which, 0, np.int64(values[i]))
    return count


@kernel
def _take_integers(
    tables: Distributions,
    which: Integer,
    words: NDArray[np.uint16],
    state: NDArray[np.int64],
    values: Ints,
) -> bool:
    x, at, good = state[0], state[1], True
    for i in range(values.size):
        x, at, value = take(x, at, words, tables, which, 0)
        if abs(value) > LARGEST:
            good, value = False, np.int64(0)
        values[i] = value
    state[0], state[1] = x, at
    return good


@kernel
def _put_plane(
    tables: Distributions,
    wide: Ints,
    around: Ints,
    net: Layers,
    room: Room,
    codes: NDArray[np.uint32],
) -> Integer:
    count = 0
    for r in range(around.shape[1]):
        for c in range(around.shape[2]):
            mean, which = predict(wide, around, r, c, net, room)
            count = put(codes, count, tables, which, mean, np.int64(wide[r + 2, c + 2]))
    return count


@kernel
def _take_plane(
    tables: Distributions,
    wide: Ints,
    around: Ints,
    net: Layers,
    room: Room,
    words: NDArray[np.uint16],
    state: NDArray[np.int64],
) -> bool:
    x, at, good = state[0], state[1], True
    for r in range(around.shape[1]):
        for c in range(around.shape[2]):
            mean, which = predict(wide, around, r, c, net, room)
            x, at, value = take(x, at, words, tables, which, mean)
            if abs(value) > LARGEST:
                good, value = False, np.int64(0)
            wide[r + 2, c + 2] = value
    state[0], state[1] = x, at
    return good
