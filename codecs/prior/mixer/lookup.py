"""Contexts and their buckets in the two tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer.hashing import hash2
from omnicodec.models.kernels import Integer, kernel


@kernel
def bucket(table: NDArray[np.uint8], h: Integer, totals: NDArray[np.uint8]) -> Integer:
    """Return the place of the bucket of hash `h` in the item's table, made if it is not there.

    It takes the place of the one in its set that has seen the least.
    """
    at = (h & ((len(table) // fmt.BUCKET) - 1)) & ~(fmt.WAYS - 1)
    check = max(1, h >> fmt.CHECK_SHIFT)
    least = 1 << 30
    worst = 0
    for way in range(fmt.WAYS):
        place = (at + way) * fmt.BUCKET
        if table[place] == check:
            return place
        seen: Integer = 0 if table[place] == 0 else 1 + np.int64(totals[table[place + 1]])
        if seen < least:
            least = seen
            worst = place
    for k in range(fmt.BUCKET):
        table[worst + k] = 0
    table[worst] = check
    return worst


@kernel
def static_bucket(table: NDArray[np.uint8], h: Integer) -> Integer:
    """Return the place of the bucket of hash `h` in the static table, or -1."""
    at = (h & ((len(table) // fmt.BUCKET) - 1)) & ~(fmt.WAYS - 1)
    check = max(1, h >> fmt.CHECK_SHIFT)
    for way in range(fmt.WAYS):
        place = (at + way) * fmt.BUCKET
        if table[place] == check:
            return place
    return -1


@kernel
def context_hashes(
    contexts: NDArray[np.int32], f: NDArray[np.int64], book: Integer, hashes: NDArray[np.int64]
) -> None:
    """Set the hash of each context from the features `f`."""
    for j in range(len(hashes)):
        h = j + 1 + fmt.BOOK_SEEDS * book
        for k in range(contexts.shape[1]):
            feature = contexts[j, k]
            if feature < 0:
                break
            h = hash2(f[feature], h)
        hashes[j] = h
