"""The static table: counted from all training items, pruned to what says most.

1. `count` goes over the items and keeps for each context a large hashed table of the
   probabilities of its nodes.
2. `gains` goes over them again and sums for each bucket how many bits it saves against the
   context that would predict in its place (`Schema.parents`). What a bucket says about a bit is
   taken as if that bit had not been counted, for otherwise what was seen once would seem
   to be known for sure.
3. `prune` keeps the buckets of the largest gains: four for each set of the table that ships.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.prior.mixer import format as fmt
from omnicodec.codecs.prior.mixer import grid, tables, text
from omnicodec.codecs.prior.mixer.hashing import hash2
from omnicodec.codecs.prior.mixer.lookup import context_hashes
from omnicodec.codecs.prior.mixer.state import Model
from omnicodec.models.kernels import Integer, kernel
from omnicodec.service.train.mixer.items import Items

_COUNT_BITS: Final = 10
_COUNT_MAX: Final = (1 << _COUNT_BITS) - 24
_P_BITS: Final = 22
_EVEN: Final = 1 << 31
"""A node that was never seen: probability 1/2, count 0."""

_RATES: Final = np.array([int(65536 / (n + 1.6)) for n in range(1 << _COUNT_BITS)], np.int32)
"""How far the n-th bit moves a probability: (ones + 0.3) / (n + 0.6) in the end."""

_WORTH: Final = 3.0
"""Bits that a bucket must save in all of the training items."""


def build(
    model: Model, parents: tuple[int, ...], items: Items, counted: int, shipped: int
) -> NDArray[np.uint8]:
    """Return the static table, shape (16, 2**shipped): one check byte and 15 codes a bucket.

    Each context is counted in `2**counted` buckets, at least as many as are shipped.
    """
    contexts = len(model.contexts)
    nodes = np.zeros((contexts << counted) * fmt.BUCKET, np.uint32)
    up = np.array(parents, np.int64)
    for symbols, layout in items:
        _count(nodes, counted, symbols, layout, model, up, _RATES)
    gain = np.zeros(contexts << counted, np.float32)
    for symbols, layout in items:
        _gains(nodes, counted, symbols, layout, model, up, gain)
    return prune(nodes.reshape(-1, fmt.BUCKET), gain, counted, shipped)


def prune(
    nodes: NDArray[np.uint32], gain: NDArray[np.float32], counted: int, shipped: int
) -> NDArray[np.uint8]:
    """Return the buckets of the largest gains as a table of codes, shape (16, 2**shipped)."""
    worth = np.flatnonzero(gain > _WORTH)
    sets = ((worth & ((1 << counted) - 1)) & ((1 << shipped) - 1)) // fmt.WAYS
    order = np.lexsort((-gain[worth], sets))
    worth, sets = worth[order], sets[order]
    first = np.searchsorted(sets, np.arange((1 << shipped) // fmt.WAYS))
    rank = np.arange(len(sets)) - first[sets]
    kept = rank < fmt.WAYS
    table = np.zeros((1 << shipped, fmt.BUCKET), np.uint8)
    table[sets[kept] * fmt.WAYS + rank[kept]] = codes(nodes[worth[kept]])
    return np.ascontiguousarray(table.T)


def codes(nodes: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return counted buckets `(n, 16)` as they ship: classes of confidence and log-odds."""
    count = (nodes & ((1 << _COUNT_BITS) - 1)).astype(np.int64)
    logit = tables.stretch()[(nodes >> (32 - 12)).astype(np.int64)].astype(np.int64)
    middle = fmt.LEVELS // 2
    level = (logit + fmt.LEVEL_STEP * middle + fmt.LEVEL_STEP // 2) // fmt.LEVEL_STEP
    confidence = np.digitize(count, np.array(fmt.CONFIDENCES[1:]))
    coded = 1 + confidence * fmt.LEVELS + np.clip(level, 0, fmt.LEVELS - 1)
    coded[count == 0] = 0
    coded[:, 0] = nodes[:, 0]
    return coded.astype(np.uint8)


@kernel
def features(
    f: NDArray[np.int64],
    symbols: NDArray[np.int32],
    i: Integer,
    layout: NDArray[np.int64],
    m: Model,
) -> None:
    """Set the features of symbol `i` of an item."""
    if m.scalars[5] != 0:
        books, first, height, width = layout[0], layout[1], layout[2], layout[3]
        grid.before_symbol(f, symbols, i, books, first, height, width, m.neighbours, m.sums)
    elif i > 0:
        text.after_byte(f, symbols[i - 1])


@kernel
def _find(
    nodes: NDArray[np.uint32], counted: Integer, context: Integer, h: Integer, make: bool
) -> Integer:
    """Return the place of a bucket; -1 if it is not there and not to be made."""
    at = (context << counted) + ((h & ((1 << counted) - 1)) & ~(fmt.WAYS - 1))
    check = max(1, h >> fmt.CHECK_SHIFT)
    least = 1 << 30
    worst = 0
    for way in range(fmt.WAYS):
        place = (at + way) * fmt.BUCKET
        if nodes[place] == check:
            return place
        seen: Integer = 0
        if nodes[place] != 0:
            seen = 1 + (np.int64(nodes[place + 1]) & ((1 << _COUNT_BITS) - 1))
        if seen < least:
            least = seen
            worst = place
    if not make:
        return -1
    nodes[worst] = check
    for k in range(1, fmt.BUCKET):
        nodes[worst + k] = np.uint32(_EVEN)
    return worst


@kernel
def _count(
    nodes: NDArray[np.uint32],
    counted: Integer,
    symbols: NDArray[np.int32],
    layout: NDArray[np.int64],
    m: Model,
    parents: NDArray[np.int64],
    rates: NDArray[np.int32],
) -> None:
    f = np.zeros(64, np.int64)
    hashes = np.zeros(len(m.contexts), np.int64)
    seen = np.zeros(len(m.contexts), np.bool_)
    for i in range(len(symbols)):
        book = i % layout[0]
        features(f, symbols, i, layout, m)
        context_hashes(m.contexts, f, book, hashes)
        left = np.int64(m.bits[book])
        coded = np.int64(1)
        symbol = np.int64(symbols[i])
        while left > 0:
            group = (left - 1) % fmt.GROUP_BITS + 1
            for j in range(len(hashes)):
                seen[j] = False
                # A longer context says nothing new before its shorter one was seen twice.
                if parents[j] >= 0 and parents[j] < j and not seen[parents[j]]:
                    continue
                place = _find(nodes, counted, j, hash2(hashes[j], coded), True)
                seen[j] = (np.int64(nodes[place + 1]) & ((1 << _COUNT_BITS) - 1)) >= 1
                node: Integer = 1
                for b in range(group):
                    bit = (symbol >> (left - 1 - b)) & 1
                    value = np.int64(nodes[place + node])
                    n = value & ((1 << _COUNT_BITS) - 1)
                    p = value >> _COUNT_BITS
                    if bit == 1:
                        p += (((1 << _P_BITS) - 1 - p) * np.int64(rates[n])) >> 16
                    else:
                        p -= (p * np.int64(rates[n])) >> 16
                    n += n < _COUNT_MAX
                    nodes[place + node] = np.uint32((p << _COUNT_BITS) | n)
                    node = node * 2 + bit
            coded = (coded << group) | ((symbol >> (left - group)) & ((1 << group) - 1))
            left -= group


@kernel
def _gains(
    nodes: NDArray[np.uint32],
    counted: Integer,
    symbols: NDArray[np.int32],
    layout: NDArray[np.int64],
    m: Model,
    parents: NDArray[np.int64],
    gain: NDArray[np.float32],
) -> None:
    f = np.zeros(64, np.int64)
    hashes = np.zeros(len(m.contexts), np.int64)
    places = np.zeros(len(m.contexts), np.int64)
    cost = np.zeros(len(m.contexts))
    for i in range(len(symbols)):
        book = i % layout[0]
        features(f, symbols, i, layout, m)
        context_hashes(m.contexts, f, book, hashes)
        left = np.int64(m.bits[book])
        coded = np.int64(1)
        symbol = np.int64(symbols[i])
        while left > 0:
            group = (left - 1) % fmt.GROUP_BITS + 1
            for j in range(len(hashes)):
                places[j] = _find(nodes, counted, j, hash2(hashes[j], coded), False)
            node: Integer = 1
            for b in range(group):
                bit = (symbol >> (left - 1 - b)) & 1
                for j in range(len(hashes)):
                    cost[j] = cost[parents[j]] if 0 <= parents[j] < j else 1.0
                    if places[j] < 0:
                        continue
                    value = np.int64(nodes[places[j] + node])
                    n = value & ((1 << _COUNT_BITS) - 1)
                    if n < 2:
                        continue
                    p = (value >> _COUNT_BITS) / float(1 << _P_BITS)
                    without: Any = (p * (n + 0.6) - bit) / (n - 0.4)
                    without = min(max(without, 0.0005), 0.9995)
                    own = -np.log2(without if bit == 1 else 1.0 - without)
                    gain[places[j] // fmt.BUCKET] += np.float32(cost[j] - own)
                    cost[j] = own
                node = node * 2 + bit
            coded = (coded << group) | ((symbol >> (left - group)) & ((1 << group) - 1))
            left -= group
