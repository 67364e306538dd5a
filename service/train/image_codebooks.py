"""Reduced codebooks of FSQ by k-means over the code vectors, weighted by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.image._reduced import nearest, points

Array = NDArray[np.float64]

_ROUNDS: Final = 12
_FINE: Final = 1000
"""The largest number in a metric."""


def decoder_metric(matrix: NDArray[Any], levels: Sequence[int]) -> NDArray[np.int32]:
    """Return the metric of `ReducedCodebook`: distances behind the decoder's first layer.

    `matrix`, `(channels, D)`, is that layer's; equal distances there are equal distances in
    the space that `points` maps entries to, up to rounding.
    """
    wide = np.asarray(matrix, np.float64)
    likeness = wide.T @ wide
    root = np.linalg.cholesky(likeness + 1e-9 * np.trace(likeness) * np.eye(len(likeness)))
    steps = root / (np.array(levels, np.float64) - 1)[:, None]
    scaled: NDArray[np.int32] = np.round(steps * (_FINE / np.abs(steps).max())).astype(np.int32)
    return scaled


def reduce_codebook(
    counts: NDArray[np.int64],
    size: int,
    levels: Sequence[int],
    metric: NDArray[np.int32],
    seed: int = 0,
) -> NDArray[np.int32]:
    """Return `size` entries that stand in for all, int32, in ascending order.

    `counts` says how often each entry of the whole codebook occurs; more than `size` must
    occur at all. Lloyd's k-means, then the entry nearest to each mean.
    """
    seen = np.flatnonzero(counts)
    if seen.size <= size:
        raise ValueError(f"{seen.size} entries occur, which are not to be reduced to {size}")
    places, weights = points(seen, levels, metric), counts[seen].astype(np.float64)
    rng = np.random.default_rng(seed)
    # The square root draws from the rare ones too, which lie far out.
    chance = np.sqrt(weights) / np.sqrt(weights).sum()
    means = places[rng.choice(seen.size, size, replace=False, p=chance)]
    for _ in range(_ROUNDS):
        means = _means(places, weights, means)
    label = nearest(places, means)
    apart = np.square(places - means[label]).sum(1)
    order = np.lexsort((apart, label))
    first = order[np.flatnonzero(np.diff(label[order], prepend=-1))]
    spare = np.setdiff1d(np.argsort(-apart * weights, kind="stable"), first, assume_unique=True)
    chosen = np.concatenate([first, spare[: size - first.size]])
    return np.sort(seen[chosen]).astype(np.int32)


def _means(places: Array, weights: Array, means: Array) -> Array:
    """Return the next means; those of nobody go where most is lost."""
    label = nearest(places, means)
    mass = np.bincount(label, weights, len(means))
    sums = [np.bincount(label, weights * axis, len(means)) for axis in places.T]
    moved = np.stack(sums, 1) / np.maximum(mass, 1)[:, None]
    empty = np.flatnonzero(mass == 0)
    lost = weights * np.square(places - means[label]).sum(1)
    moved[empty] = places[np.argsort(-lost, kind="stable")[: empty.size]]
    return moved
