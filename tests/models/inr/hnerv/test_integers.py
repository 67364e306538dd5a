"""The row of integers: its order, its classes, and numbers that come back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.models.inr.arm_kernels import CLASSES
from omnicodec.models.inr.hnerv.integers import (
    FINEST_WEIGHT,
    LARGEST,
    classes,
    layout,
    pack,
    quantized,
    row_size,
    segments_of,
    shape_of,
    unpack,
)
from omnicodec.models.inr.hnerv.shape import shape_for

EXTENT = {"frames": 3, "height": 50, "width": 70}


def test_the_layout_of_the_papers_clip() -> None:
    segments = layout({"frames": 132, "height": 640, "width": 1280}, 60)
    assert [(s.name, s.shape) for s in segments[:4]] == [
        ("embeddings", (132, 16, 2, 4)),
        ("0.weight", (68, 16, 1, 1)),
        ("0.bias", (68,)),
        ("1.weight", (57 * 25, 68, 1, 1)),
    ]
    assert segments[-2].shape == (3, 28, 3, 3)
    assert row_size(segments) == 2 * 15 + 1_505_172


def test_segments_follow_each_other() -> None:
    segments = layout(EXTENT, 100)
    at = 2 * len(segments)
    for segment in segments:
        assert segment.start == at
        at += math.prod(segment.shape)
        assert segment.stop == at
    assert row_size(segments) - 2 * len(segments) == shape_of(EXTENT, 100).parameters


def test_numbers_come_back() -> None:
    rng = np.random.default_rng(0)
    segments = segments_of(shape_for(3, 50, 70, 4000))
    numbers = [rng.normal(0, 10.0**-k, s.shape) for k, s in enumerate(segments)]
    parts = [quantized(x, s.finest, 127) for x, s in zip(numbers, segments, strict=True)]
    values = pack(parts, segments)
    assert values.dtype == np.int32
    assert np.abs(values).max() <= LARGEST
    assert classes(values, segments) == [part.which for part in parts]
    found = unpack(values, segments)
    for x, s in zip(numbers, segments, strict=True):
        integers, fraction = found[s.name]
        assert integers.shape == s.shape
        assert fraction <= s.finest
        assert np.abs(integers * 2.0**-fraction - x).max() <= 2.0**-fraction / 2
        # No larger units than 7 bits and a sign need.
        assert fraction == s.finest or np.abs(integers).max() > 62


@pytest.mark.parametrize(("number", "fraction"), [(0.0, FINEST_WEIGHT), (1e9, 0), (1.0, 6)])
def test_units_have_ends(number: float, fraction: int) -> None:
    part = quantized(np.array([number, -number / 2]), FINEST_WEIGHT, 127)
    assert part.fraction == fraction
    assert np.abs(part.values).max() <= 127


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=64))
def test_integers_of_any_size_are_cut(numbers: list[int]) -> None:
    segments = layout(EXTENT, 40)
    values = np.resize(np.array(numbers, np.int32), row_size(segments))
    assert all(0 <= which < CLASSES for which in classes(values, segments))
    for (part, fraction), segment in zip(unpack(values, segments).values(), segments, strict=True):
        assert np.abs(part).max() <= LARGEST
        assert 0 <= fraction <= segment.finest


def test_a_row_of_another_size_is_refused() -> None:
    segments = layout(EXTENT, 40)
    with pytest.raises(ValueError, match="a row of"):
        unpack(np.zeros(row_size(segments) + 1, np.int32), segments)
