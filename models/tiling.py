"""Cutting long axes into overlapping tiles whose middles cover everything once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Tile:
    """A stretch of one axis: `start` to `stop` is computed, `keep_start` to `keep_stop` kept."""

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def tiles(length: int, core: int, margin: int) -> Iterator[Tile]:
    """Yield the tiles of an axis: kept stretches of at most `core`, and `margin` around them.

    Neighbouring kept stretches touch, none overlap; margins end at the axis' own ends. An
    axis of up to `core + 2 * margin` is one tile.
    """
    if length <= core + 2 * margin:
        yield Tile(0, length, 0, length)
        return
    count = -(-length // core)
    edges = [length * i // count for i in range(count + 1)]
    for keep_start, keep_stop in pairwise(edges):
        yield Tile(
            max(0, keep_start - margin), min(length, keep_stop + margin), keep_start, keep_stop
        )
