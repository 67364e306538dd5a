"""Features of codes on a grid: codebook, row, column, and neighbours that are known already."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.models.kernels import Integer, kernel

FIRST_NEIGHBOUR: Final = 3


@kernel
def before_symbol(
    f: NDArray[np.int64],
    data: NDArray[np.int32],
    i: Integer,
    books: Integer,
    first: Integer,
    height: Integer,
    width: Integer,
    neighbours: NDArray[np.int32],
    sums: NDArray[np.int32],
) -> None:
    """Set the features `f` of symbol `i` of a span.

    `data` holds the span's symbols, codebook after codebook for each position; `first` is the
    span's first position in a grid of frames of `height` x `width`. Rows of `neighbours` are
    (frames back, rows up, columns left, codebook, whether that is absolute, shift). Rows of
    `sums` are features to add up, -1 behind the last.
    """
    book = i % books
    position = first + i // books
    column = position % width
    line = position // width
    row = line % height
    f[0] = book
    f[1] = row
    f[2] = column
    for k in range(neighbours.shape[0]):
        back, up, left, which, absolute, shift = neighbours[k]
        f[FIRST_NEIGHBOUR + k] = 0
        other = which if absolute != 0 else book - which
        if not (0 <= other < books and 0 <= row - up < height and 0 <= column - left < width):
            continue
        there = position - (back * height + up) * width - left
        at = (there - first) * books + other
        if there >= first and at < i:
            f[FIRST_NEIGHBOUR + k] = (np.int64(data[at]) >> shift) + 1
    for k in range(sums.shape[0]):
        total = np.int64(0)
        for term in sums[k]:
            if term < 0:
                break
            total += f[term]
        f[FIRST_NEIGHBOUR + neighbours.shape[0] + k] = total
