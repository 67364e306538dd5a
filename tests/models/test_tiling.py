"""Tiles cover an axis once, whatever its length."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from omnicodec.models.tiling import tiles


@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 20))
def test_kept_stretches_cover_everything_once(length: int, core: int, margin: int) -> None:
    cut = list(tiles(length, core, margin))
    assert [cut[0].keep_start, cut[-1].keep_stop] == [0, length]
    for a, b in pairwise(cut):
        assert a.keep_stop == b.keep_start
    for tile in cut:
        assert 0 <= tile.start <= tile.keep_start < tile.keep_stop <= tile.stop <= length
        assert tile.stop - tile.start <= core + 2 * margin
        assert tile.start in (0, tile.keep_start - margin)
        assert tile.stop in (length, tile.keep_stop + margin)
