"""What a vector is likely to be, given those before it: the median of three neighbours.

After H.264 (8.4.1.3). Search and coding go through blocks by rows, and through the quarters of a
split block by rows. They keep a field of all vectors so far, int32 `(references, 2h, 2w, 2)`, in
which a reference that a block does not use has what was predicted for it, so that there is always
something to go by.
"""

from __future__ import annotations

from omnicodec.models.inr.motion.field import Ints
from omnicodec.models.kernels import Integer, kernel


@kernel
def predicted(
    field: Ints, k: Integer, r: Integer, c: Integer, size: Integer
) -> tuple[Integer, Integer, Integer]:
    """Return the vector (down, across) that reference `k` probably has, and how sure that is.

    For the block (`size` 2) or the quarter (1) that begins with quarter (r, c). The third number
    is what the neighbours differ by, both directions added: 0 where there is but one.
    """
    if r == 0 and c == 0:
        return 0, 0, 0
    if r == 0:
        return field[k, r, c - 1, 0], field[k, r, c - 1, 1], 0
    # The third neighbour is above to the right, or where that is not known yet, to the left.
    ahead = c + size < field.shape[2] and (r % 2 == 0 or c % 2 == 0)
    third = c + size if ahead else max(c - 1, 0)
    beside_row, beside = (r, c - 1) if c > 0 else (r - 1, c)
    down, down_spread = _median(
        field[k, beside_row, beside, 0], field[k, r - 1, c, 0], field[k, r - 1, third, 0]
    )
    across, across_spread = _median(
        field[k, beside_row, beside, 1], field[k, r - 1, c, 1], field[k, r - 1, third, 1]
    )
    return down, across, down_spread + across_spread


@kernel
def fill(
    field: Ints, k: Integer, r: Integer, c: Integer, size: Integer, down: Integer, across: Integer
) -> None:
    """Set the vector of a block (`size` 2) or of a quarter (1)."""
    for i in range(size):
        for j in range(size):
            field[k, r + i, c + j, 0] = down
            field[k, r + i, c + j, 1] = across


@kernel
def _median(a: Integer, b: Integer, c: Integer) -> tuple[Integer, Integer]:
    low, high = min(a, b, c), max(a, b, c)
    return a + b + c - low - high, high - low
