"""Residual quantization: nested, never worse, and nearest in fact."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from omnicodec.models.audio.residual import ResidualQuantizer, nearest


@pytest.fixture
def quantizer() -> ResidualQuantizer:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(4, 32, 6)
    for book in range(4):
        quantizer.codebooks[book] = torch.randn(32, 6) * 0.5**book
    quantizer.codebooks[:, 0] = 0
    return quantizer


def test_nearest_is_nearest() -> None:
    torch.manual_seed(1)
    vectors, codebook = torch.randn(50, 5), torch.randn(9, 5)
    assert torch.equal(nearest(vectors, codebook), torch.cdist(vectors, codebook).argmin(1))


def test_fewer_books_are_the_first_ones(quantizer: ResidualQuantizer) -> None:
    z = torch.randn(2, 7, 6)
    whole = quantizer.indices(z, 4)
    assert whole.shape == (4, 2, 7)
    for used in range(5):
        part = quantizer.indices(z, used)
        assert torch.equal(part[:used], whole[:used])
        assert not part[used:].any()


def test_each_book_helps_or_does_nothing(quantizer: ResidualQuantizer) -> None:
    z = torch.randn(500, 6) * 3
    errors = [(quantizer(z, used) - z).norm(dim=1) for used in range(5)]
    for before, after in pairwise(errors):
        assert (after <= before + 1e-5).all()
    assert errors[4].mean() < 0.7 * errors[0].mean()


def test_vectors_are_sums_of_entries(quantizer: ResidualQuantizer) -> None:
    indices = torch.randint(0, 32, (4, 3))
    expected = sum(quantizer.codebooks[book][indices[book]] for book in range(4))
    assert torch.allclose(quantizer.vectors(indices), expected)
    assert not quantizer.vectors(torch.zeros(4, 3, dtype=torch.int64)).any()


@pytest.mark.parametrize("used", [1, 3, 4])
def test_more_paths_find_nearer_sums(quantizer: ResidualQuantizer, used: int) -> None:
    torch.manual_seed(2)
    z = torch.randn(300, 6) * 2

    def error(width: int) -> torch.Tensor:
        indices = quantizer.indices(z, used, width)
        assert not indices[used:].any()
        return (quantizer.vectors(indices) - z).square().sum(1)

    greedy, four = error(1), error(4)
    if used == 1:
        assert torch.allclose(four, greedy, atol=1e-4)
    else:
        assert four.mean() < 0.97 * greedy.mean()


def test_all_paths_find_the_nearest_sum() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(2, 6, 3)
    quantizer.codebooks[:] = torch.randn(2, 6, 3)
    z = torch.randn(40, 3)
    sums = (quantizer.codebooks[0][:, None] + quantizer.codebooks[1]).flatten(0, 1)
    expected = torch.cdist(z, sums).amin(1)
    found = (quantizer.vectors(quantizer.indices(z, 2, 6)) - z).norm(dim=1)
    assert torch.allclose(found, expected, atol=1e-5)
