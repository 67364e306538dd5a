"""Discriminators of pictures learn, and their gradients lead towards what is real."""

from __future__ import annotations

import torch

from omnicodec.service.train.critics import Critics
from omnicodec.service.train.picture_critics import PictureDiscriminators, judge_pictures

SIZE = 64


def waves(count: int) -> torch.Tensor:
    """Pictures of fine stripes."""
    phase = 6 * torch.rand(count, 1, 1, 1)
    stripes = torch.sin(1.3 * torch.arange(SIZE) + phase).expand(count, 3, SIZE, SIZE)
    return 0.5 * stripes


def flat(count: int) -> torch.Tensor:
    """Pictures of one colour each."""
    return (torch.rand(count, 3, 1, 1) - 0.5).expand(count, 3, SIZE, SIZE).clone()


def test_they_learn_and_their_gradient_leads_to_the_real() -> None:
    torch.manual_seed(0)
    critics = Critics(PictureDiscriminators((8, 16)), 2e-3, (0.5, 0.99))
    own = []
    for step in range(40):
        fake = flat(4).requires_grad_()
        own.append(float(judge_pictures(critics, fake, waves(4), 48, step).own))
    assert sum(own[-5:]) < 0.7 * sum(own[:5])
    real = waves(4)
    mixed = (0.5 * real).requires_grad_()
    judged = judge_pictures(critics, mixed, real, SIZE, 40)
    judged.losses["feature"].backward()
    assert mixed.grad is not None
    assert float((mixed.grad * (mixed.detach() - real)).sum()) > 0
    assert not any(p.requires_grad for p in critics.network.parameters())


def test_only_the_window_of_the_step_is_judged() -> None:
    critics = Critics(PictureDiscriminators((8,)), 1e-3, (0.5, 0.99))
    fake = flat(2).requires_grad_()
    judge_pictures(critics, fake, waves(2), 16, 5).losses["adversarial"].backward()
    assert fake.grad is not None
    touched = (fake.grad != 0).any(0).any(0)
    assert touched.any()
    assert int(touched.sum()) <= 16 * 16
