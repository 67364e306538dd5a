"""The static prior: exact round trips, the expected size, and hostile bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream, InvalidInput
from omnicodec.codecs.prior import Span, StaticPrior
from omnicodec.codecs.prior.static import MAX_TOTAL, TOTAL, quantize_counts, total_for

COUNTS = [[np.array([900, 90, 9, 1, 0]), np.array([1, 1])], [np.array([5, 5, 990])]]
PRIOR = StaticPrior.train(COUNTS)


def draw(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, n) for size in PRIOR.codebook_sizes]).astype(np.int32)


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_decode_inverts_encode(n: int, seed: int) -> None:
    ids = draw(n, seed)
    span = Span((n,), 0, n)
    assert np.array_equal(PRIOR.decode(PRIOR.encode(ids, span), span), ids)


def test_codebooks_are_split_into_digits() -> None:
    assert PRIOR.codebook_sizes == (10, 3)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_quantized_counts_add_up(counts: list[int]) -> None:
    frequencies = quantize_counts(np.array(counts))
    assert frequencies.sum() == TOTAL
    assert frequencies.min() >= 1
    order = np.argsort(counts, kind="stable")
    assert (np.diff(frequencies[order]) >= -1).all()  # what is more frequent stays so


def test_size_is_the_entropy() -> None:
    counts = np.array([60000, 3000, 400, 136])
    prior = StaticPrior.train([[counts]])
    p = counts / counts.sum()
    n = 50_000
    ids = np.random.default_rng(0).choice(4, n, p=p).astype(np.int32)[None]
    bits = 8 * len(prior.encode(ids, Span((n,), 0, n)))
    ideal = -np.log2(p[ids[0]]).sum()
    assert ideal * 0.999 < bits < ideal * 1.002 + 64
    assert prior.bits_per_position == pytest.approx(-(p * np.log2(p)).sum(), rel=0.01)


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(1, 50))
def test_any_bytes_decode_or_are_refused(data: bytes, n: int) -> None:
    try:
        ids = PRIOR.decode(data, Span((n,), 0, n))
    except CorruptStream:
        return
    assert ids.shape == (2, n)
    assert (ids >= 0).all()
    assert (ids < np.array(PRIOR.codebook_sizes)[:, None]).all()


def test_tables_round_trip_and_fingerprint() -> None:
    again = StaticPrior.from_tables(PRIOR.tables())
    assert again.fingerprint == PRIOR.fingerprint
    other = StaticPrior.train([[COUNTS[0][0], np.array([1, 2])], COUNTS[1]])
    assert other.fingerprint != PRIOR.fingerprint
    split = StaticPrior.train([[COUNTS[0][0]], [COUNTS[0][1]], COUNTS[1]])
    assert split.fingerprint != PRIOR.fingerprint


def test_tables_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(InvalidInput, match="add up"):
        StaticPrior([[np.array([1, 2, 3])]])
    with pytest.raises(InvalidInput, match="do not fit"):
        quantize_counts(np.ones(TOTAL + 1, np.int64))


@pytest.mark.parametrize("size", [2, 1024, 1025, 32_768, 50_257, 1 << 21])
def test_large_alphabets_leave_room_for_what_is_frequent(size: int) -> None:
    assert max(TOTAL, 64 * size) <= total_for(size) or total_for(size) == MAX_TOTAL
    assert total_for(size) >= 2 * size
    counts = np.zeros(size, np.int64)
    counts[: size // 2 + 1] = 1000
    prior = StaticPrior.train([[counts]])
    ids = np.random.default_rng(0).integers(0, size, (1, 300), np.int32)
    span = Span((300,), 0, 300)
    assert np.array_equal(prior.decode(prior.encode(ids, span), span), ids)
    if size <= 50_257:  # half of the alphabet is never seen, and costs next to nothing
        assert prior.bits_per_position < np.log2(size // 2 + 1) + 0.15
