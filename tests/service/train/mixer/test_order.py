"""New numbers for entries: each once, the same every time, and alike where their company is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from omnicodec.service.train.mixer.order import entry_order


def codes(entries: int, kinds: int, frames: int, seed: int, books: int = 2) -> NDArray[np.int32]:
    """Return codes whose kind, the code modulo `kinds`, mostly lasts and is that of all books."""
    rng = np.random.default_rng(seed)
    kind = np.zeros(frames, np.int64)
    for t in range(1, frames):
        kind[t] = kind[t - 1] if rng.random() < 0.9 else rng.integers(kinds)
    drawn = rng.integers(0, entries // kinds, (books, frames))
    return (drawn * kinds + kind).astype(np.int32)


@pytest.mark.parametrize(("entries", "kinds"), [(32, 2), (64, 4)])
def test_entries_in_alike_places_share_leading_bits(entries: int, kinds: int) -> None:
    orders = entry_order([codes(entries, kinds, 3000, seed) for seed in range(4)], entries)
    assert orders.shape == (2, entries)
    assert orders.dtype == np.int32
    for order in orders:
        for part in np.split(order % kinds, kinds):
            assert np.bincount(part).max() >= 0.9 * part.size


@pytest.mark.parametrize("entries", [1, 2, 3, 30, 33])
def test_each_entry_is_there_once_and_always_in_the_same_place(entries: int) -> None:
    rng = np.random.default_rng(entries)
    items = [rng.integers(0, entries, (3, frames)).astype(np.int16) for frames in (1, 2, 40)]
    orders = entry_order(items, entries)
    assert np.array_equal(np.sort(orders, 1), np.tile(np.arange(entries), (3, 1)))
    assert np.array_equal(orders, entry_order(items, entries))


def test_entries_that_never_occur_have_places() -> None:
    items = [np.zeros((2, 50), np.int32)]
    assert np.array_equal(np.sort(entry_order(items, 16), 1), np.tile(np.arange(16), (2, 1)))
