"""The prior of image tokens: exact on any span, worth its bits, and refusing what is not its."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.codecs import CorruptStream
from omnicodec.codecs.image._reduced import (
    ReducedCodebook,
    join_digits,
    nearest,
    points,
    split_digits,
)
from omnicodec.codecs.image._vq_prior import WHOLE, DigitPrior, read_prior
from omnicodec.codecs.prior import Span

LEVELS = (4, 4, 3)  # of the toy weights
SIZE = math.prod(LEVELS)


@pytest.fixture(scope="module")
def prior(toy_prior: dict[str, np.ndarray]) -> DigitPrior:
    found = read_prior(LEVELS, toy_prior)
    assert isinstance(found, DigitPrior)
    return found


@given(st.data())
@settings(max_examples=25)
def test_any_tokens_of_any_span_come_back(prior: DigitPrior, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 9))
    height = data.draw(st.integers(1, 9))
    start = data.draw(st.integers(0, height * width))
    stop = data.draw(st.integers(start, height * width))
    quality = data.draw(st.sampled_from([*prior.codebooks, WHOLE]))
    ids = data.draw(
        st.lists(st.integers(0, SIZE - 1), min_size=stop - start, max_size=stop - start)
    )
    row = np.array([ids], np.int32).reshape(1, -1)
    if quality != WHOLE:
        row = prior.codebooks[quality].nearest(row)
    span = Span((height, width), start, stop)
    np.testing.assert_array_equal(prior.decode(prior.encode(row, span), span), row)


def test_it_saves_bits(prior: DigitPrior, smooth_tokens) -> None:
    sizes = []
    ids = smooth_tokens(40, 40, 99)
    for quality in (*prior.codebooks, WHOLE):
        row = ids if quality == WHOLE else prior.codebooks[quality].nearest(ids)
        code = prior.encode(row.reshape(1, -1), Span((40, 40), 0, 1600))
        assert code[0] == quality
        raw = 1600 * math.log2(prior.size_of(quality)) / 8
        assert len(code) < 0.85 * raw
        sizes.append(len(code))
    assert sizes == sorted(sizes)


def test_a_code_of_another_codebook_is_refused(prior: DigitPrior, smooth_tokens) -> None:
    """Tokens that are not in the codebook that their chunk names."""
    ids = smooth_tokens(8, 8, 3).reshape(1, -1)
    span = Span((8, 8), 0, 64)
    assert prior.quality_of(ids) == WHOLE
    digits = split_digits(ids[0], LEVELS)
    for quality in prior.codebooks:
        code = bytes([quality]) + prior._mixers[quality].encode(digits, span)
        with pytest.raises(CorruptStream, match="not in its codebook"):
            prior.decode(code, span)


def test_damaged_codes_are_refused_or_are_tokens(prior: DigitPrior, smooth_tokens) -> None:
    ids = prior.codebooks[50].nearest(smooth_tokens(10, 12, 5)).reshape(1, -1)
    span = Span((10, 12), 0, 120)
    code = prior.encode(ids, span)
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        broken = bytearray(code)
        for _ in range(rng.integers(1, 4)):
            broken[rng.integers(len(broken))] = rng.integers(256)
        broken = broken[: rng.integers(len(broken) + 1)]
        try:
            found = prior.decode(bytes(broken), span)
        except CorruptStream:
            refused += 1
        else:
            assert found.shape == (1, 120)
            assert 0 <= found.min() <= found.max() < SIZE
    assert refused > 100
    for first in (b"", b"\0", b"\x1a", b"\xff"):
        with pytest.raises(CorruptStream, match="which codebook"):
            prior.decode(first, span)
    with pytest.raises(CorruptStream):
        prior.decode(code + b"more", span)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("25/entries", None),
        ("25/static", None),
        ("25/entries", np.array([1, 1, 2, 3], np.int32)),
        ("25/entries", np.array([1, SIZE], np.int32)),
        ("25/entries", np.zeros((2, 2), np.int32)),
        ("50/entries", np.array([1, 2], np.int32)),
        ("metric", np.zeros((2, 2), np.int32)),
        ("metric", np.full((3, 3), 1 << 20, np.int32)),
        ("0/static", np.zeros(3, np.uint8)),
    ],
)
def test_tensors_that_do_not_belong_together(
    toy_prior: dict[str, np.ndarray], key: str, value: np.ndarray | None
) -> None:
    tensors = {k: v for k, v in {**toy_prior, key: value}.items() if v is not None}
    with pytest.raises((ValueError, KeyError)):
        DigitPrior(LEVELS, tensors)


def test_the_fingerprint_sees_codebooks_and_tables(toy_prior: dict[str, np.ndarray]) -> None:
    first = DigitPrior(LEVELS, toy_prior).fingerprint
    entries = toy_prior["25/entries"].copy()
    entries[0] = np.setdiff1d(np.arange(SIZE), entries)[0]
    assert DigitPrior(LEVELS, {**toy_prior, "25/entries": entries}).fingerprint != first
    weights = toy_prior["50/weights"].copy()
    weights.flat[0] += 1
    assert DigitPrior(LEVELS, {**toy_prior, "50/weights": weights}).fingerprint != first


@given(st.lists(st.integers(2, 9), min_size=1, max_size=5), st.integers(0, 2**31))
def test_digits_are_those_of_the_ids(levels: list[int], seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, math.prod(levels), (3, 4)).astype(np.int32)
    digits = split_digits(ids, levels)
    assert digits.shape == (len(levels), 3, 4)
    assert (digits < np.array(levels)[:, None, None]).all()
    np.testing.assert_array_equal(join_digits(digits, levels), ids)


@given(st.integers(0, 2**31))
def test_the_nearest_entry_is_the_nearest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metric = rng.integers(-1000, 1000, (3, 3)).astype(np.int32)
    entries = rng.choice(SIZE, 7, replace=False).astype(np.int32)
    codebook = ReducedCodebook(entries, LEVELS, metric)
    ids = np.arange(SIZE, dtype=np.int32)
    chosen = codebook.nearest(ids)
    assert codebook.contains(chosen)
    assert not codebook.contains(ids)
    if round(np.linalg.det(metric)):  # else different entries may be in one place
        np.testing.assert_array_equal(codebook.nearest(entries), entries)
    far = points(ids, LEVELS, metric)
    every = np.square(far[:, None] - points(np.sort(entries), LEVELS, metric)[None]).sum(-1)
    own = np.square(far - points(chosen, LEVELS, metric)).sum(-1)
    np.testing.assert_array_equal(own, every.min(1))
    np.testing.assert_array_equal(nearest(far, far[:1]), 0)
