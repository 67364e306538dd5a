"""Compiled loops over rows, side by side on threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final, TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

_ROWS: Final = 32
"""Rows that are worth a thread of their own."""


def side_by_side(function: Callable[[T], R], jobs: Iterable[T]) -> list[R]:
    """Return the result of each job, in order; loops that release the GIL run at once.

    On as many threads as torch has been told to use.
    """
    if torch.get_num_threads() == 1:
        return [function(job) for job in jobs]
    return list(_threads().map(function, jobs))


def in_bands(function: Callable[[int, int], None], rows: int) -> None:
    """Call a function with the first row of each band, and the one after its last."""
    parts = min(torch.get_num_threads(), max(1, rows // _ROWS))
    edges = [rows * part // parts for part in range(parts + 1)]
    if parts == 1:
        function(0, rows)
    else:
        side_by_side(lambda k: function(edges[k], edges[k + 1]), range(parts))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, "omnicodec-bands")


# A forked process has none of its parent's threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)
