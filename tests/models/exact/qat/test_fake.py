"""Fake quantization: the values of `requantize`, the gradients of the identity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnicodec.models.exact import requantize
from omnicodec.models.exact.qat import Range
from omnicodec.models.exact.qat.fake import (
    power_of_two,
    quantize,
    quantize_weight,
    substitute,
    weight_fractions,
)


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=30),
    st.integers(0, 30), st.integers(0, 15), st.sampled_from([8, 16]),
)  # fmt: skip
def test_quantize_is_requantize(
    steps: list[int], fraction_in: int, fraction_out: int, bits: int
) -> None:
    x = torch.tensor(steps, dtype=torch.int32)
    expected = requantize(x, torch.tensor(fraction_in - fraction_out), bits)
    got = quantize(x.double() * 2.0**-fraction_in, fraction_out, bits)
    assert torch.equal(got, expected.double() * 2.0**-fraction_out)


def test_gradients_pass_inside_the_range() -> None:
    x = torch.tensor([-100.0, -8.0, -7.96, 0.3, 7.9, 8.0], requires_grad=True)
    y = quantize(x, 4, 8)
    assert y.tolist() == [-8, -8, -7.9375, 0.3125, 7.875, 7.9375]
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]


def test_substitute_has_one_value_and_the_other_gradient() -> None:
    x = torch.tensor([0.1, 3e7], requires_grad=True)
    exact = torch.tensor([1 / 3, 0.1])
    y = substitute(x * 3, exact)
    assert torch.equal(y, exact)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [3, 3]


@settings(deadline=None)
@given(st.floats(2.0**-8, 127), st.integers(0, 1000))
def test_weights_use_their_bits(largest: float, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    weight = (torch.rand(3, 20, generator=random) * 2 - 1) * largest
    weight[:, 0] = largest
    fractions = weight_fractions(weight, 1)
    steps = quantize_weight(weight, fractions, 1) * power_of_two(fractions, weight)[:, None]
    assert torch.equal(steps, steps.round())
    assert 64 <= steps.abs().max() <= 127
    error = (steps - weight * power_of_two(fractions, weight)[:, None]).abs()
    assert error.max() <= 1  # half a step, and one where 127.5 and more are cut to 127


def test_powers_of_two_are_exact() -> None:
    exponents = torch.arange(-64, 65)
    powers = power_of_two(exponents, torch.zeros((), dtype=torch.float32))
    assert powers.tolist() == [2.0**k for k in range(-64, 65)]


def test_a_range_follows_what_it_sees_until_frozen() -> None:
    follow = Range(8)
    with pytest.raises(RuntimeError, match="no range yet"):
        _ = follow.fraction
    follow(torch.tensor([0.7, -0.9]))
    assert follow.fraction == 7
    for _ in range(300):
        follow(torch.tensor([3.0]))
    assert follow.fraction == 5
    follow.eval()
    follow(torch.tensor([100.0]))
    assert follow.fraction == 5
    follow.train()
    follow.freeze()
    for _ in range(300):
        follow(torch.tensor([100.0]))
    assert follow.fraction == 5
    again = Range(8)
    again.load_state_dict(follow.state_dict())
    assert again.fraction == 5
    assert bool(again.frozen)


def test_fractions_stay_within_what_shifts_can_hold() -> None:
    for value, fraction in ((1e-9, 15), (1e9, 0), (0.0, 15)):
        follow = Range(8)
        follow(torch.tensor([value]))
        assert follow.fraction == fraction
    with pytest.raises(ValueError, match="fractions"):
        Range(8, 16)
