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

Patching is a view of any of them: k neighbouring columns become one, the rows of the first
above those of the second, and `<|pad|>` (here **) fills the last one. Flat codes with k = 4:

    a1 b2 c3
    b1 c2 **
    c1 a3 **
    a2 b3 **
"""

from __future__ import annotations

from typing import Any, Final

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


class BadLayout(InvalidInput):
    """Codes are not laid out in the pattern; `step` is the first column that shows it."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step


def take_up(columns: Ids, pattern: str, books: int, hole: int) -> Ids:
    """Return the codes `(K, N)` that `lay_out` made `columns` from.

    Raises `BadLayout` when no codes have this layout.
    """
    steps = columns.shape[1]
    if pattern == "flat":
        if steps % books:
            raise BadLayout(f"{steps} codes do not divide among {books} codebooks", steps)
        return np.ascontiguousarray(columns.reshape(-1, books).T)
    shift = 1 if pattern == "delay" else 0
    positions = steps - shift * (books - 1) if steps else 0
    if steps and positions < 1:
        raise BadLayout(f"{steps} steps are too few for {books} delayed codebooks", steps)
    ids = np.empty((books, positions), np.int32)
    for book in range(books):
        ids[book] = columns[book, shift * book : shift * book + positions]
    wrong = (lay_out(ids, pattern, columns.shape[0], hole) != columns).any(axis=0)
    if wrong.any():
        raise BadLayout(f"the codes are not laid out in the {pattern} pattern", int(wrong.argmax()))
    return ids


def into_patches(columns: Ids, k: int, pad: int) -> Ids:
    """Group columns `(rows, L)` by k into `(rows * k, ceil(L / k))`, padded at the end.

    Row `i * rows + r` of a patch is row r of the i-th of its columns.
    """
    rows, steps = columns.shape
    out = np.full((rows, -(-steps // k) * k), pad, np.int32)
    out[:, :steps] = columns
    return np.ascontiguousarray(out.reshape(rows, -1, k).transpose(2, 0, 1).reshape(rows * k, -1))


def from_patches(patches: NDArray[np.integer], k: int, pad: int) -> NDArray[np.integer]:
    """Return the columns `(rows, L)` that `into_patches` grouped.

    Only what it can have put there is taken for padding: fewer than k columns at the end.
    """
    rows = patches.shape[0] // k
    columns = patches.reshape(k, rows, -1).transpose(1, 2, 0).reshape(rows, -1)
    padded = (columns[:, columns.shape[1] - (k - 1) :] == pad).all(axis=0)[::-1]
    count = int(padded.size if padded.all() else padded.argmin())
    return columns[:, : columns.shape[1] - count]


def columns_of(
    document: NDArray[Any], rows: int, k: int, *, pad: int, hole: int
) -> NDArray[np.integer]:
    """Return the columns `(rows, L)` of a document as a model has it, patches taken apart.

    It may have fewer rows, which are holes then: those of a codec that was added later. Raises
    `InvalidInput` for what has another shape, or is not made of integers.
    """
    if document.size and not np.issubdtype(document.dtype, np.integer):
        raise InvalidInput(f"a document is a sequence of integers, not of {document.dtype}")
    columns = document.reshape(1, -1) if document.ndim == 1 else document
    given, odd = divmod(columns.shape[0] if columns.ndim == 2 else 0, k)
    if odd or not 0 < given <= rows:
        raise InvalidInput(f"a document here has {rows * k} rows, not shape {document.shape}")
    if not columns.size:
        columns = columns.astype(np.int32)
    if k > 1:
        columns = from_patches(columns, k, pad)
    if given < rows:
        below = np.full((rows - given, columns.shape[1]), hole, np.int32)
        columns = np.concatenate([columns, below])
    return columns


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
