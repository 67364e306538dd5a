"""How K parallel codebooks are laid out in a sequence, as invertible steps.

Codes of K = 3 codebooks at N = 3 positions, `a1` the first codebook at the first one:

    flat       a1 b1 c1 a2 b2 c2 a3 b3 c3        one row, position by position

    parallel   a1 a2 a3                          K rows, position by position
               b1 b2 b3
               c1 c2 c3

    delay      a1 a2 a3 -- --                    row k starts k steps later (MusicGen,
               -- b1 b2 b3 --                    Copet et al. 2023, arXiv:2306.05284)
               -- -- c1 c2 c3

Here `--` is the hole id. Flat documents are one row; in the other two, everything that is
not a code (text, special tokens) stands in the first row over holes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput

Ids = NDArray[np.int32]

PATTERNS: Final = ("flat", "parallel", "delay")


def lay_out(ids: Ids, pattern: str, rows: int, hole: int) -> Ids:
    """Return codes `(K, N)` as columns of the sequence, `(rows, steps)`; `rows` is at least K."""
    books, positions = ids.shape
    if pattern == "flat":
        return ids.T.reshape(1, -1)
    shift = 1 if pattern == "delay" else 0
    steps = positions + shift * (books - 1) if positions else 0
    out = np.full((rows, steps), hole, np.int32)
    for book in range(books if positions else 0):
        out[book, shift * book : shift * book + positions] = ids[book]
    return out


def take_up(columns: Ids, pattern: str, books: int, hole: int) -> Ids:
    """Return the codes `(K, N)` that `lay_out` made `columns` from.

    Raises `InvalidInput` when no codes have this layout.
    """
    steps = columns.shape[1]
    if pattern == "flat":
        if steps % books:
            raise InvalidInput(f"{steps} codes do not divide among {books} codebooks")
        return np.ascontiguousarray(columns.reshape(-1, books).T)
    shift = 1 if pattern == "delay" else 0
    positions = steps - shift * (books - 1) if steps else 0
    if steps and positions < 1:
        raise InvalidInput(f"{steps} steps are too few for {books} delayed codebooks")
    ids = np.empty((books, positions), np.int32)
    for book in range(books):
        ids[book] = columns[book, shift * book : shift * book + positions]
    if not np.array_equal(lay_out(ids, pattern, columns.shape[0], hole), columns):
        raise InvalidInput(f"the codes are not laid out in the {pattern} pattern")
    return ids


def patch(ids: Ids, k: int, pad: int) -> Ids:
    """Group a sequence of shape `(L,)` into patches `(ceil(L / k), k)`, padded at the end."""
    if k < 1 or ids.ndim != 1:
        raise InvalidInput("patches are made of 1 or more ids of a sequence of one row")
    padded = np.full(-(-ids.size // k) * k, pad, np.int32)
    padded[: ids.size] = ids
    return padded.reshape(-1, k)


def unpatch(patches: Ids, pad: int) -> Ids:
    """Return the sequence that `patch` grouped, without the padding at its end."""
    ids = patches.reshape(-1)
    used = np.flatnonzero(ids != pad)
    return ids[: used[-1] + 1] if used.size else ids[:0]
