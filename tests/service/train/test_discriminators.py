"""Discriminators tell two kinds of sound apart, and their gradients lead from one to the other."""

from __future__ import annotations

import pytest
import torch

from omnicodec.service.train.critics import (
    Critics,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
)
from omnicodec.service.train.discriminators import (
    PERIODS,
    WINDOWS,
    Discriminators,
    judge_sounds,
)

SIZE = 2400
TIME = torch.arange(SIZE) / 24_000


def tones(count: int) -> torch.Tensor:
    pitch = 200 + 800 * torch.rand(count, 1)
    return 0.3 * torch.sin(2 * torch.pi * pitch * TIME)


def noise(count: int) -> torch.Tensor:
    return 0.2 * torch.randn(count, SIZE)


def test_every_member_judges_every_clip() -> None:
    network = Discriminators()
    members = range(len(PERIODS) + len(WINDOWS))
    verdicts = network(noise(3), members)
    assert len(verdicts) == len(members)
    for verdict in verdicts:
        assert all(layer.shape[0] == 3 for layer in verdict)
        assert verdict[-1].shape[1] == 1


def test_losses_fall_as_they_should() -> None:
    def verdict(score: float, inner: float) -> list[torch.Tensor]:
        return [torch.full((1, 2), inner), torch.full((1, 1), score)]

    good, bad = [verdict(2, 1)], [verdict(-2, 0.5)]
    assert discriminator_loss(good, bad) == 0
    assert discriminator_loss(bad, good) > 0
    assert adversarial_loss(good) == 0
    assert adversarial_loss(bad) == 3
    assert feature_loss(good, good) == 0
    assert float(feature_loss(good, bad)) == pytest.approx(0.5)


def test_they_learn_and_their_gradient_leads_to_the_real() -> None:
    torch.manual_seed(0)
    critics = Critics(Discriminators(), 1e-3, (0.8, 0.99))
    own = []
    for step in range(40):
        fake = noise(4).requires_grad_()
        own.append(float(judge_sounds(critics, fake, tones(4), 2000, step).own))
    assert sum(own[-5:]) < 0.8 * sum(own[:5])
    real = tones(4)
    mixed = (0.5 * real + 0.5 * noise(4)).requires_grad_()
    judged = judge_sounds(critics, mixed, real, SIZE, 40)
    judged.losses["feature"].backward()
    assert mixed.grad is not None
    # Less of what is not in the real one lowers the loss.
    assert float((mixed.grad * (mixed.detach() - real)).sum()) > 0
    assert not any(p.requires_grad for p in critics.network.parameters())
