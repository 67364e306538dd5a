"""Gradients are shared out by weight, whatever the losses' own sizes."""

from __future__ import annotations

import pytest
import torch

from omnicodec.service.train.balancer import Balancer


@pytest.fixture
def output() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(3, 10).requires_grad_()


def test_a_loss_alone_keeps_its_gradient(output: torch.Tensor) -> None:
    balancer = Balancer({"first": 1.0, "second": 1.0})
    found = balancer.gradient({"first": output.square().sum()}, output)
    assert torch.allclose(found, 2 * output.detach())


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_size_of_a_loss_does_not_count(output: torch.Tensor, size: float) -> None:
    balancer = Balancer({"first": 1.0, "second": 0.5})
    losses = {"first": output[:, :5].sum(), "second": size * output[:, 5:].sum()}
    found = balancer.gradient(losses, output)
    assert torch.allclose(found[:, :5], torch.ones(3, 5))
    assert torch.allclose(found[:, 5:], torch.full((3, 5), 0.5), atol=1e-4)


def test_norms_follow_slowly(output: torch.Tensor) -> None:
    balancer = Balancer({"first": 1.0, "second": 1.0}, decay=0.9)
    balancer.gradient({"first": output.sum(), "second": output.sum()}, output)
    found = balancer.gradient({"first": output.sum(), "second": 11 * output.sum()}, output)
    # The norm of the second has moved a tenth of the way from 1 to 11, times the root of 10.
    assert torch.allclose(found, torch.full((3, 10), 1 + 11 / 2))


def test_a_loss_without_gradient_does_no_harm(output: torch.Tensor) -> None:
    losses = {"first": output.sum(), "second": (output * 0).sum()}
    assert torch.isfinite(Balancer({"first": 1.0, "second": 1.0}).gradient(losses, output)).all()
