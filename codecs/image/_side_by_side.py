"""Arrays of one shape through a network side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

WIDTH: Final = 8
"""Arrays that run side by side on a GPU. A CPU has no kernel that one picture does not fill."""

Arrays = NDArray[Any]


def width_on(device: str) -> int:
    """Return how many arrays run side by side on a torch device."""
    return 1 if device == "cpu" else WIDTH


def side_by_side(
    arrays: Iterable[Arrays], width: int, run: Callable[[Arrays], Arrays]
) -> Iterator[tuple[int, Arrays]]:
    """Yield the number of each array and what `run` makes of it, in any order.

    `run` takes and gives `(width, ...)`, always so many: zeros stand for arrays that there are
    not, so that what else is in a batch changes no kernel, and so no bit of a result. Arrays are
    taken as they are needed; `width - 1` of each shape wait at most.
    """
    waiting: dict[tuple[int, ...], list[tuple[int, Arrays]]] = {}
    for numbered in enumerate(arrays):
        shape = numbered[1].shape
        group = waiting.setdefault(shape, [])
        group.append(numbered)
        if len(group) == width:
            yield from _run(waiting.pop(shape), width, run)
    for group in waiting.values():
        yield from _run(group, width, run)


def _run(
    group: list[tuple[int, Arrays]], width: int, run: Callable[[Arrays], Arrays]
) -> Iterator[tuple[int, Arrays]]:
    first = group[0][1]
    if width == 1:
        batch = first[None]
    else:
        batch = np.zeros((width, *first.shape), first.dtype)
        for place, (_, array) in enumerate(group):
            batch[place] = array
    for (number, _), found in zip(group, run(batch), strict=False):
        yield number, found
