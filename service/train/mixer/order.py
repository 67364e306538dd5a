"""New numbers for the entries of codebooks: entries that stand in alike places get alike numbers.

The mixer codes a number bit by bit and takes the leading bits of neighbouring codes as
contexts, so leading bits should say as much as they can. What an entry means is seen by what
stands around it: correspondence analysis (Benzécri 1973; Greenacre, "Correspondence Analysis in
Practice", 2017) of how often it meets the codes of other codebooks and frames gives each
entry a vector; a binary tree that cuts these vectors into halves gives the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer[Any]]

AXES: Final = 24
"""Dimensions of the vectors."""

# Where codes are looked at: codebooks on from the present one, frames on from the present one,
# and how much they count. The first codebook of the frame is looked at as well.
_PLACES: Final = (
    (-1, 0, 1.0), (1, 0, 1.0), (-2, 0, 0.5), (2, 0, 0.5), (0, -1, 1.0), (0, 1, 1.0),
)  # fmt: skip
_FLOOR: Final = 0.03
"""Of the mean frequency: what is rarer has a vector that is shortened."""


def entry_order(items: Sequence[Ids], entries: int) -> NDArray[np.int32]:
    """Return the entries of each codebook in their new order, int32 `(K, entries)`.

    `items` are the codes of sounds, integers `(K, frames)`.
    """
    books = len(items[0])
    orders = []
    for book in range(books):
        vectors, counts = _vectors(items, book, books, entries)
        orders.append(_halved(vectors, counts + 0.5, np.arange(entries)))
    return np.stack(orders).astype(np.int32)


def _vectors(
    items: Sequence[Ids], book: int, books: int, entries: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the vectors of a codebook's entries, and how often each occurs."""
    together = np.zeros((entries, entries))
    places = [(book + on, frames, weight) for on, frames, weight in _PLACES]
    if book > 2:
        places.append((0, 0, 1.0))
    for other, frames, weight in places:
        if 0 <= other < books:
            together += weight * _likeness(_met(items, book, other, frames, entries))
    values, axes = np.linalg.eigh(together)
    counts = np.bincount(np.concatenate([ids[book] for ids in items]), minlength=entries)
    mass = counts / max(1, counts.sum())
    scale = np.sqrt(np.maximum(values[: -AXES - 1 : -1], 0))
    vectors = axes[:, : -AXES - 1 : -1] * scale / np.sqrt(mass + _FLOOR / entries)[:, None]
    return vectors, counts.astype(np.float64)


def _met(
    items: Sequence[Ids], book: int, other: int, frames: int, entries: int
) -> NDArray[np.float64]:
    """Return how often each entry of `book` meets each of `other` so many frames later."""
    pairs = []
    for ids in items:
        length = max(0, ids.shape[1] - abs(frames))
        here = ids[book, max(0, -frames) :][:length].astype(np.int64)
        pairs.append(here * entries + ids[other, max(0, frames) :][:length])
    counts = np.bincount(np.concatenate(pairs), minlength=entries * entries)
    return counts.reshape(entries, entries).astype(np.float64)


def _likeness(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how alike the rows of a table deviate from chance, less what chance itself gives."""
    total = max(1.0, counts.sum())
    rows, columns = counts.sum(1, keepdims=True), counts.sum(0, keepdims=True)
    expected = rows * columns / total
    surplus = (counts - expected) / np.sqrt(np.maximum(expected, 1e-12) * total)
    likeness = surplus @ surplus.T
    likeness[np.diag_indices_from(likeness)] -= max(0, np.count_nonzero(columns) - 1) / total
    return np.asarray(likeness)


def _halved(
    vectors: NDArray[np.float64], weights: NDArray[np.float64], which: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return `which` in the order of a tree: halved along its main axis, and so on.

    Halves are sorted along the first axis of all, so that leading bits are a scale of it.
    """
    if which.size == 1:
        return which
    weight = weights[which, None]
    around = vectors[which] - (vectors[which] * weight).sum(0) / weight.sum()
    along = around @ np.linalg.eigh((around * weight).T @ around)[1][:, -1]
    if (along * around[:, 0] * weight[:, 0]).sum() < 0:
        along = -along
    sorted_ = which[np.argsort(along, kind="stable")]
    # The largest power of two that leaves something: leading bits then cut evenly.
    half = 1 << ((which.size - 1).bit_length() - 1)
    return np.concatenate(
        [_halved(vectors, weights, part) for part in (sorted_[:half], sorted_[half:])]
    )
