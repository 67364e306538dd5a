"""Tiles: they cover a grid once, are as even as can be, and no larger than they may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.hub.tiles import check_shape, cuts, fitted, joined, tiles


@given(st.integers(1, 500), st.integers(1, 60))
def test_cuts_are_few_and_even(length: int, most: int) -> None:
    pieces = [each.stop - each.start for each in cuts(length, most)]
    assert sum(pieces) == length
    assert len(pieces) == -(-length // most)
    assert max(pieces) <= most
    assert max(pieces) - min(pieces) <= 1


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12))
def test_tiles_cover_each_position_once(height: int, width: int, side: int) -> None:
    boxes = tiles((height, width), side)
    seen = np.zeros((height, width), np.int64)
    for box in boxes:
        seen[box] += 1
        assert seen[box].size <= side * side
    assert (seen == 1).all()
    assert (len(boxes) == 1) == (0 < height * width <= side * side)
    numbers = np.arange(height * width).reshape(1, height, width)
    whole = joined([numbers[:, *box] for box in boxes], boxes, (height, width))
    assert whole.ravel().tolist() == list(range(height * width))


def test_pixels_are_fitted_by_repeating_the_last() -> None:
    pixels = np.arange(2 * 2 * 3).reshape(2, 2, 3)
    found = fitted(pixels, 3, 4)
    assert found.shape == (3, 4, 3)
    assert (found[:2, :2] == pixels).all()
    assert (found[2] == found[1]).all()
    assert (found[:, 2:] == found[:, 1:2]).all()


def test_another_shape_than_the_box_is_refused() -> None:
    box = tiles((4, 5), 9)[0]
    check_shape("it", (4, 5), box)
    with pytest.raises(InvalidInput, match=r"it gives \(4, 6\) where \(4, 5\) is right"):
        check_shape("it", (4, 6), box)
