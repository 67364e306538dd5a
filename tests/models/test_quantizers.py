"""FSQ against its definition."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.quantizers import FSQ, soft_round

LEVELS = st.lists(st.integers(2, 9), min_size=1, max_size=5)


@settings(deadline=None)
@given(LEVELS)
def test_every_index_is_its_own_vector(levels: list[int]) -> None:
    fsq = FSQ(levels)
    count = min(fsq.codebook_size, 2000)
    indices = torch.arange(count).view(1, 1, -1)
    vectors = fsq.vectors(indices)
    assert vectors.shape == (1, len(levels), 1, count)
    assert len(torch.unique(vectors[0, :, 0].T, dim=0)) == count
    assert vectors.abs().max() <= 1


@settings(deadline=None)
@given(LEVELS, st.integers(0, 2**31))
def test_forward_is_the_vector_of_the_index(levels: list[int], seed: int) -> None:
    fsq = FSQ(levels)
    z = torch.randn(2, len(levels), 3, 4, generator=torch.Generator().manual_seed(seed)) * 3
    assert torch.equal(fsq(z), fsq.vectors(fsq.indices(z)))
    assert int(fsq.indices(z).max()) < fsq.codebook_size


def test_gradients_pass_straight_through() -> None:
    z = torch.zeros(1, 2, 1, 1, requires_grad=True)
    FSQ((5, 3))(z).sum().backward()
    # Slope of the sigmoid at 0, times the width of -1 to 1.
    assert torch.allclose(z.grad, torch.full_like(z, 0.25 * 2))


def test_the_first_channel_is_the_lowest_digit() -> None:
    fsq = FSQ((4, 3))
    z = torch.tensor([100.0, -100.0]).view(1, 2, 1, 1)
    assert int(fsq.indices(z)) == 3
    assert int(fsq.indices(-z)) == 4 * 2


def test_soft_rounding_goes_from_nothing_to_rounding() -> None:
    x = torch.linspace(-3, 3, 1001)
    assert (soft_round(x, 5.0) - x).abs().max() < 0.02
    away = (x - x.floor() - 0.5).abs() > 0.1
    assert (soft_round(x, 0.03) - x.round())[away].abs().max() < 0.01
    whole = torch.arange(-3.0, 4)
    torch.testing.assert_close(soft_round(whole, 0.2), whole)
