"""The prior of real values: exact round trips, the expected size, and hostile bytes."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from omnicodec.codecs import CorruptStream
from omnicodec.codecs.prior import Span
from omnicodec.codecs.prior.soft import SoftPrior, from_patterns, to_patterns

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
REAL = np.random.default_rng(0).standard_normal((500, 4)).astype(np.float32)
PRIOR = SoftPrior(4)
SPAN = Span((20, 50), 100, 600)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@given(st.data())
def test_every_bit_comes_back(dtype: type, data: st.DataObject) -> None:
    soft = data.draw(hnp.arrays(dtype, SHAPES))
    prior, span = SoftPrior(soft.shape[1]), Span((len(soft),), 0, len(soft))
    rows = prior.decode(prior.encode(to_patterns(soft), span), span)
    assert np.array_equal(rows, to_patterns(soft))
    found, wrong = from_patterns(rows, 8 * soft.itemsize)
    assert found.dtype == dtype
    assert np.array_equal(wrong, ~np.isfinite(soft).all(1))
    assert found[~wrong].tobytes() == soft[~wrong].tobytes()
    assert not found[wrong].any()


def test_a_chunk_of_nothing() -> None:
    rows = np.zeros((4, 0), np.int32)
    span = Span((0,), 0, 0)
    assert np.array_equal(PRIOR.decode(PRIOR.encode(rows, span), span), rows)


def test_sizes() -> None:
    whole = PRIOR.encode(to_patterns(REAL), SPAN)
    half = PRIOR.encode(to_patterns(REAL.astype(np.float16)), SPAN)
    assert len(half) < 0.55 * len(whole)
    assert len(whole) < REAL.nbytes  # the exponents of noise are not noise
    assert (whole[0], half[0]) == (4, 2)


def test_the_width_is_part_of_the_name() -> None:
    assert SoftPrior(4).fingerprint == PRIOR.fingerprint != SoftPrior(8).fingerprint


def test_other_bytes_are_refused() -> None:
    data = PRIOR.encode(to_patterns(REAL), SPAN)
    planes = zlib.decompress(data[1:])
    for bad in (
        b"",
        b"\4",
        b"\3" + data[1:],
        b"\2" + data[1:],
        data[:-1],
        data + b"\0",
        data[:50] + b"\xff\xff" + data[52:],
        b"\4" + zlib.compress(planes[:-1]),
        b"\4" + zlib.compress(planes + b"\0"),
        b"\4" + zlib.compress(bytes(1 << 24)),
    ):
        with pytest.raises(CorruptStream):
            PRIOR.decode(bad, SPAN)


def test_patterns_that_no_half_has_are_marked() -> None:
    rows = to_patterns(np.ones((5, 2), np.float16))
    rows[1, 3] |= 1 << 16
    rows[0, 4] = -1
    found, wrong = from_patterns(rows, 16)
    assert wrong.tolist() == [False, False, False, True, True]
    assert found.tolist() == [[1, 1]] * 3 + [[0, 0]] * 2
