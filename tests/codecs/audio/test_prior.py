"""The prior of `audio/rvq`: exact, no bits for unused codebooks, and no trust in bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnicodec.codecs.audio._prior import NestedPrior
from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.prior import Span, StaticPrior

COUNTS = [np.arange(1, 17) ** 2 * (book + 1) for book in range(4)]
PRIOR = NestedPrior(StaticPrior.train([[count] for count in COUNTS]).tables())


def span(n: int) -> Span:
    return Span((n, 1), 0, n)


def drawn(n: int, used: int, seed: int = 0) -> np.ndarray:
    ids = np.zeros((4, n), np.int32)
    rng = np.random.default_rng(seed)
    ids[:used] = rng.choice(16, (used, n), p=COUNTS[0] / COUNTS[0].sum())
    return ids


@given(st.integers(0, 40), st.integers(0, 4), st.integers(0, 99))
def test_round_trip(n: int, used: int, seed: int) -> None:
    ids = drawn(n, used, seed)
    assert np.array_equal(PRIOR.decode(PRIOR.encode(ids, span(n)), span(n)), ids)


def test_rates_are_nested() -> None:
    sizes = [len(PRIOR.encode(drawn(2000, used), span(2000))) for used in range(5)]
    assert sizes[0] == 1
    entropy = float(-(p := COUNTS[0] / COUNTS[0].sum()) @ np.log2(p)) * 2000 / 8
    for used in range(1, 5):
        assert sizes[used] - sizes[used - 1] == pytest.approx(entropy, rel=0.03)


def test_a_book_of_zeros_in_between_is_kept() -> None:
    ids = drawn(50, 4)
    ids[1] = 0
    assert np.array_equal(PRIOR.decode(PRIOR.encode(ids, span(50)), span(50)), ids)


@given(st.binary(max_size=40))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    try:
        ids = PRIOR.decode(data, span(8))
    except CorruptStream:
        return
    assert ids.shape == (4, 8)
    assert 0 <= ids.min() <= ids.max() < 16


@pytest.mark.parametrize("data", [b"", b"\x05", b"\x00\x01", b"\xff"])
def test_impossible_beginnings(data: bytes) -> None:
    with pytest.raises(CorruptStream):
        PRIOR.decode(data, span(3))


def test_the_fingerprint_is_of_the_tables() -> None:
    other = NestedPrior(StaticPrior.train([[c + 1] for c in COUNTS]).tables())
    assert other.fingerprint != PRIOR.fingerprint
    assert NestedPrior(StaticPrior.train([[c] for c in COUNTS]).tables()).fingerprint == (
        PRIOR.fingerprint
    )
