"""Requantization against its definition, on Python's integers."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.exact import fixed, requantize
from omnicodec.models.exact.kernels import requantize_rows

LARGEST = 2**31 - 2**29 - 1
SUMS = st.one_of(
    st.integers(-LARGEST, LARGEST),
    st.integers(-70000, 70000),
    st.sampled_from([-LARGEST, LARGEST, 0, -1, 1, 127, 128, -128, -129, 32767, 32768, -32769]),
)


def defined(x: int, shift: int, bits: int) -> int:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return min(max(floor(Fraction(x) / Fraction(2) ** shift + Fraction(1, 2)), low), high)


@settings(deadline=None)
@given(
    st.lists(st.tuples(SUMS, st.integers(-15, 30)), min_size=1, max_size=40),
    st.sampled_from([8, 16]),
)
def test_requantize_is_its_definition(cases: list[tuple[int, int]], bits: int) -> None:
    x, shift = (torch.tensor(column) for column in zip(*cases, strict=True))
    expected = [defined(a, s, bits) for a, s in cases]
    got = requantize(x.to(torch.int32), shift, bits)
    assert got.dtype == fixed.DTYPES[bits]
    assert got.tolist() == expected
    # The compiled loop, with a bias that cancels: as layers use it.
    out = np.empty((2, len(cases)), f"int{bits}")
    sums = (x - 5).to(torch.int32).numpy()
    bias = np.full(len(cases), 5, np.int32)
    requantize_rows(np.stack([sums, sums]), bias, shift.numpy().astype(np.int8), bits, out)
    assert out.tolist() == [expected, expected]


def test_ties_go_up() -> None:
    x = torch.tensor([-3, -2, -1, 0, 1, 2, 3], dtype=torch.int32)
    assert requantize(x, torch.tensor(1), 8).tolist() == [-1, -1, 0, 0, 1, 1, 2]


def test_shifts_out_of_range_are_refused() -> None:
    fixed.check_shift(torch.tensor([-15, 30]))
    for shift in (-16, 31):
        with pytest.raises(ValueError, match="shifts"):
            fixed.check_shift(torch.tensor([shift]))
    with pytest.raises(ValueError, match="8 or 16 bits, not 32"):
        fixed.limits(32)
