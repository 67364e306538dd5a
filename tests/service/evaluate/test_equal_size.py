"""File formats at a size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import Image
from omnicodec.service.evaluate.anchors import ANCHORS, Anchor
from omnicodec.service.evaluate.equal_size import equal_size

JPEG = next(anchor for anchor in ANCHORS if anchor.name == "jpeg")
NOTHING: Image = None  # type: ignore[assignment]


def growing(tried: list[int]) -> Anchor:
    """Return a format whose files have 100 bytes, and 5 % more with each step of quality."""

    def encode(_: Image, setting: int) -> bytes:
        tried.append(setting)
        return b"x" * size(setting)

    return replace(JPEG, encode=encode)


def size(setting: int) -> int:
    return round(100 * 1.05**setting)


@settings(max_examples=50)
@given(st.integers(size(5), size(95)))
def test_as_close_as_a_setting_allows(target: int) -> None:
    tried: list[int] = []
    found = equal_size(growing(tried), NOTHING, target, {s: size(s) for s in (5, 40, 95)})
    assert abs(size(found) / target - 1) <= 0.031
    assert len(tried) <= 3


@pytest.mark.parametrize(("target", "expected"), [(1, 5), (10**9, 95)])
def test_beyond_the_known_settings_the_nearest_is_taken(target: int, expected: int) -> None:
    tried: list[int] = []
    assert equal_size(growing(tried), NOTHING, target, {5: size(5), 95: size(95)}) == expected
    assert tried == []


def test_of_a_real_format() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(0, 256, (12, 16, 3)), 8, 0), 8, 1).astype(np.uint8)
    image = Image(smooth)
    known = {s: len(JPEG.encode(image, s)) for s in JPEG.ladder}
    target = (known[20] + known[40]) // 2
    found = equal_size(JPEG, image, target, known)
    assert abs(len(JPEG.encode(image, found)) / target - 1) < 0.06
