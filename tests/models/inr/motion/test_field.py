"""Motion as integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.models.inr.motion.field import LARGEST, MEAN, Motion, length

integers = st.integers(-(2**31), 2**31 - 1)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2]), st.data())
def test_any_integers_are_motion(height: int, width: int, references: int, data) -> None:
    count = length(height, width, references)
    row = np.array(data.draw(st.lists(integers, min_size=count, max_size=count)), np.int32)
    motion = Motion.from_row(row, height, width, references)
    assert motion.references == references
    assert motion.modes.min() >= 0
    assert motion.modes.max() <= (MEAN if references == 2 else 0)
    assert np.abs(motion.vectors).max() <= LARGEST
    assert not motion.vectors[~motion.used()].any()
    again = Motion.from_row(motion.row(), height, width, references)
    assert np.array_equal(again.row(), motion.row())


def test_its_length_follows_from_the_frame() -> None:
    assert length(0, 0, 2) == 0
    assert length(1, 1, 1) == 8
    assert length(17, 16, 2) == 2 * 17
    for references in (1, 2):
        row = Motion.still(33, 70, references).row()
        assert row.shape == (length(33, 70, references),)
        assert not row.any()
        with pytest.raises(ValueError, match="33x71"):
            Motion.from_row(np.append(row, 0), 33, 71, references)
    with pytest.raises(ValueError, match="are not the motion"):
        Motion.from_row(np.zeros(24, np.int32), 1, 1, 3)


def test_a_block_is_split_where_its_quarters_differ() -> None:
    motion = Motion.still(16, 48, 2)
    motion.modes[0] = MEAN
    motion.vectors[1, 1, 3, 0] = 5
    motion.vectors[0, :, 4:] = 7
    assert motion.split().tolist() == [[False, True, False]]
    assert not Motion.still(16, 16, 1).split().any()
