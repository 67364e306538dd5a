"""The order of coding in a group."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omnicodec.models.inr.order import SPACING, needed, order


@given(st.integers(0, 200))
def test_every_frame_once_and_after_what_it_follows(count: int) -> None:
    seen: list[int] = []
    for step in order(count):
        assert set(step.references) <= set(seen)
        assert len(step.references) == (0 if not seen else len(set(step.references)))
        seen.append(step.frame)
    assert sorted(seen) == list(range(count))


@given(st.integers(1, 200), st.data())
def test_what_is_needed_is_enough_and_little(count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, count - 1))
    found = needed(count, range(start, start + 1))
    for step in order(count):
        if step.frame in found:
            assert set(step.references) <= found
    assert start in found
    assert len(found) <= start // SPACING + 2 + 3


def test_depths() -> None:
    assert [tuple(step) for step in order(9)] == [
        (0, (), 0), (8, (0,), 0), (4, (0, 8), 1), (2, (0, 4), 2), (1, (0, 2), 3),
        (3, (2, 4), 3), (6, (4, 8), 2), (5, (4, 6), 3), (7, (6, 8), 3),
    ]  # fmt: skip
