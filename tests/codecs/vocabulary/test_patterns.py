"""Codebook patterns against hand-drawn examples, and as inverses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.vocabulary.patterns import (
    PATTERNS,
    from_patches,
    into_patches,
    lay_out,
    patch,
    take_up,
    unpatch,
)

A = np.array([[1, 2, 3], [11, 12, 13], [21, 22, 23]], np.int32)


def test_flat() -> None:
    assert lay_out(A, "flat", 1, -1).tolist() == [[1, 11, 21, 2, 12, 22, 3, 13, 23]]


def test_parallel() -> None:
    assert lay_out(A, "parallel", 4, -1).tolist() == [*A.tolist(), [-1, -1, -1]]


def test_delay() -> None:
    assert lay_out(A, "delay", 3, -1).tolist() == [
        [1, 2, 3, -1, -1],
        [-1, 11, 12, 13, -1],
        [-1, -1, 21, 22, 23],
    ]


@given(st.sampled_from(PATTERNS), st.integers(1, 5), st.integers(0, 6), st.integers(0, 2))
def test_take_up_inverts_lay_out(pattern: str, books: int, n: int, spare: int) -> None:
    ids = np.arange(books * n, dtype=np.int32).reshape(books, n)
    rows = 1 if pattern == "flat" else books + spare
    columns = lay_out(ids, pattern, rows, -1)
    assert np.array_equal(take_up(columns, pattern, books, -1), ids)


def test_a_code_in_a_hole_is_refused() -> None:
    columns = lay_out(A, "delay", 3, -1)
    columns[2, 0] = 5
    with pytest.raises(InvalidInput, match="delay pattern"):
        take_up(columns, "delay", 3, -1)
    with pytest.raises(InvalidInput, match="too few"):
        take_up(columns[:, :2], "delay", 3, -1)
    with pytest.raises(InvalidInput, match="divide"):
        take_up(np.zeros((1, 4), np.int32), "flat", 3, -1)


@given(st.lists(st.integers(0, 9), max_size=20), st.integers(1, 7))
def test_patching_is_a_view(values: list[int], k: int) -> None:
    ids = np.array(values, np.int32)
    patches = patch(ids, k, pad=99)
    assert patches.shape == (-(-len(values) // k), k)
    assert unpatch(patches, pad=99).tolist() == values


def test_patches() -> None:
    flat = lay_out(A, "flat", 1, -1)
    assert into_patches(flat, 4, -2).tolist() == [
        [1, 12, 23],
        [11, 22, -2],
        [21, 3, -2],
        [2, 13, -2],
    ]
    assert into_patches(A[:2], 2, -2).tolist() == [[1, 3], [11, 13], [2, -2], [12, -2]]


@given(st.integers(1, 4), st.integers(0, 9), st.integers(1, 7))
def test_from_patches_inverts_into_patches(rows: int, steps: int, k: int) -> None:
    columns = np.arange(rows * steps, dtype=np.int32).reshape(rows, steps)
    patches = into_patches(columns, k, -2)
    assert patches.shape == (rows * k, -(-steps // k))
    assert np.array_equal(from_patches(patches, k, -2), columns)
