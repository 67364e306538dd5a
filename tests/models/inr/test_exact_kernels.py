"""Compiled convolutions and layouts against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.inr.exact_convolution import shuffled, signals
from omnicodec.models.inr.exact_kernels import convolve
from omnicodec.models.inr.wavelet import extended, extended_exact


def by_definition(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shift: int) -> np.ndarray:
    size = weight.shape[2]
    height, width = x.shape[1] - size + 1, x.shape[2] - size + 1
    total = np.zeros((len(weight), height, width), np.int64) + bias[:, None, None]
    for a in range(size):
        for b in range(size):
            seen = x[:, a : a + height, b : b + width].astype(np.int64)
            total += np.einsum("oi,ihw->ohw", weight[:, :, a, b].astype(np.int64), seen)
    return (total + (1 << shift >> 1)) >> shift


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 1 << 30),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 300),
    st.floats(0, 0.01),
    st.booleans(),
)
def test_convolutions_are_their_definition(
    seed: int, size: int, width: int, share: float, relu: bool
) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 3 + size - 1, width + size - 1)
    x = (rng.integers(-9000, 9001, shape) * (rng.random(shape) < share)).astype(np.int32)
    weight = rng.integers(-900, 901, (3, 4, size, size)).astype(np.int32)
    bias = rng.integers(-(1 << 20), 1 << 20, 3).astype(np.int32)
    out = np.full((3, 3, width), 77, np.int32)
    convolve(x, weight, bias, 9, relu, 1, 3, out)
    expected = by_definition(x, weight, bias, 9)
    np.testing.assert_array_equal(out[:, 1:], (expected.clip(0) if relu else expected)[:, 1:])
    assert (out[:, 0] == 77).all(), "other rows are left alone"


@pytest.mark.parametrize("bands", [9, 3])
@pytest.mark.parametrize("sides", [(1, 1), (2, 5), (16, 24)])
def test_edges_are_those_of_the_floats(bands: int, sides: tuple[int, int]) -> None:
    rng = np.random.default_rng(bands)
    picture, details = (
        rng.integers(-99, 100, (count, *sides)).astype(np.int32) for count in (3, bands)
    )
    expected = extended(torch.from_numpy(picture)[None], torch.from_numpy(details)[None])
    found = extended_exact(picture, details)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected[0].numpy())


def test_phases_are_shuffled_as_torch_does() -> None:
    phases = np.random.default_rng(0).integers(-99, 100, (12, 5, 7)).astype(np.int32)
    expected = torch.pixel_shuffle(torch.from_numpy(phases), 2).numpy()
    np.testing.assert_array_equal(shuffled(phases), expected)


def test_signals_are_rounded_and_cut() -> None:
    y = np.array([[[3, -3, 1023, -1023]], [[1, -1, 0, 2]]], np.int32)
    found = signals(y, np.array([1000, 6]), 2, 32767)
    assert found.tolist() == [[[750, -750, 32767, -32767]], [[2, -1, 0, 3]]]
