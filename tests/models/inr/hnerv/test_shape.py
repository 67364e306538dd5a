"""Sizes of networks: what the paper has, and something for every clip."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.models.inr.hnerv.network import Decoder
from omnicodec.models.inr.hnerv.shape import (
    EMBEDDING_SHARE,
    MOST_PARAMETERS,
    STRIDES,
    parameters_for,
    shape_for,
    strides_for,
)

BUNNY = (132, 640, 1280)


@pytest.mark.parametrize(("quality", "millions"), [(20, 0.375), (40, 0.75), (60, 1.5), (80, 3.0)])
def test_the_clip_of_the_paper_has_its_networks(quality: int, millions: float) -> None:
    parameters = parameters_for(*BUNNY, quality)
    assert parameters == pytest.approx(millions * 1e6, rel=0.002)
    shape = shape_for(*BUNNY, parameters)
    assert shape.parameters == pytest.approx(parameters, rel=0.04)
    assert shape.strides == (5, 4, 4, 2, 2)
    assert shape.kernels == (1, 3, 5, 5, 5)
    assert shape.embedding == (16, 2, 4)
    assert shape.padded == (640, 1280)


def test_channels_become_fewer_down_to_a_least_width() -> None:
    assert shape_for(*BUNNY, 1_501_867).channels == (68, 57, 48, 40, 33, 28)
    assert shape_for(*BUNNY, 187_733).channels == (23, 19, 16, 13, 12, 12)


def test_strides_pad_little() -> None:
    assert strides_for(1080, 1920) == (5, 4, 3, 3, 2)
    assert strides_for(288, 352) == (4, 3, 2, 2, 2)
    assert strides_for(192, 320) == (4, 4, 2, 2)
    assert strides_for(1, 1) == STRIDES[-1]
    assert strides_for(9000, 9000) == STRIDES[0]


@given(
    frames=st.integers(1, 400),
    height=st.integers(1, 2200),
    width=st.integers(1, 4000),
    quality=st.integers(0, 100),
)
def test_any_clip_has_networks(frames: int, height: int, width: int, quality: int) -> None:
    wanted = parameters_for(frames, height, width, quality)
    assert 0 <= wanted <= MOST_PARAMETERS
    shape = shape_for(frames, height, width, wanted)
    high, wide = shape.padded
    scale = math.prod(shape.strides)
    assert 0 <= high - height < scale
    assert 0 <= wide - width < scale
    # One channel more or less is the least step there is.
    if shape.channels[0] > 20:
        assert shape.parameters == pytest.approx(wanted, rel=0.08)
    if shape.embedding[0] > 1:
        assert frames * math.prod(shape.embedding) <= EMBEDDING_SHARE * wanted
    # What `exact` needs for its sums.
    assert all(inputs * k * k <= 1 << 14 for inputs, _, k, _ in shape.layers())


def test_parameters_are_those_of_the_decoder() -> None:
    shape = shape_for(5, 30, 50, 20_000)
    weights = sum(p.numel() for p in Decoder(shape).parameters())
    assert shape.parameters == weights + 5 * math.prod(shape.embedding)


@pytest.mark.parametrize("size", [(0, 8, 8), (1, 0, 8), (1, 8, 0)])
def test_a_clip_has_pixels(size: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no pixels"):
        shape_for(*size, 1000)
