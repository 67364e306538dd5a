"""Which qualities the page shows."""

from __future__ import annotations

import pytest

from omnicodec.service.evaluate.versions import spread


@pytest.mark.parametrize(
    ("qualities", "most", "expected"),
    [
        ([None], 5, [None]),
        ([40, 10, 70], 5, [40, 10, 70]),
        ([40, 0, 10, 20, 30], 5, [40, 0, 10, 20, 30]),
        ([40, 0, 10, 20, 30, 50, 60, 75, 90], 5, [40, 0, 20, 60, 90]),
    ],
)
def test_the_main_quality_and_others_from_end_to_end(
    qualities: list[int | None], most: int, expected: list[int | None]
) -> None:
    assert spread(qualities, most) == expected
