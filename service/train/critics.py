"""A step against discriminators, for sounds and for pictures: their losses, and the codec's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Verdict = list[Tensor]
"""The layers' outputs, the last of which is the score: above 0 for what is taken for real."""

Judge = Callable[[Tensor], Sequence[Verdict]]


@dataclass(frozen=True)
class Judgement:
    """What the discriminators make of a batch: the codec's losses, and their own."""

    losses: dict[str, Tensor]
    own: Tensor


class Critics:
    """Discriminators with their optimizer; they are thrown away after training."""

    def __init__(self, network: nn.Module, rate: float, betas: tuple[float, float]) -> None:
        self.network = network
        self.optimizer = torch.optim.AdamW(network.parameters(), rate, betas)

    def judge(self, decoded: Tensor, real: Tensor, judge: Judge) -> Judgement:
        """Learn from a batch; return losses that have gradients by `decoded`.

        `judge` asks the network: a part of it, if a step need not ask all.
        """
        self.network.requires_grad_(True)
        with torch.autocast(real.device.type, torch.bfloat16):
            own = discriminator_loss(judge(real), judge(decoded.detach()))
        self.optimizer.zero_grad(set_to_none=True)
        own.backward()
        self.optimizer.step()
        self.network.requires_grad_(False)
        with torch.autocast(real.device.type, torch.bfloat16):
            with torch.no_grad():
                wanted = judge(real)
            found = judge(decoded)
        losses = {
            "adversarial": adversarial_loss(found),
            "feature": feature_loss(wanted, found),
        }
        return Judgement(losses, own.detach())


def judged(x: Tensor, layers: nn.ModuleList, score: nn.Module, slope: float) -> Verdict:
    """Return the verdict of layers with leaky rectifiers between them."""
    seen = []
    for layer in layers:
        x = F.leaky_relu(layer(x), slope)
        seen.append(x)
    return [*seen, score(x)]


def discriminator_loss(real: Sequence[Verdict], decoded: Sequence[Verdict]) -> Tensor:
    """Return the hinge loss of discriminators: it falls as they get right."""
    losses = [
        F.relu(1 - a[-1].float()).mean() + F.relu(1 + b[-1].float()).mean()
        for a, b in zip(real, decoded, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(decoded: Sequence[Verdict]) -> Tensor:
    """Return the loss of what was judged: it falls as it is taken for real."""
    return torch.stack([F.relu(1 - b[-1].float()).mean() for b in decoded]).mean()


def feature_loss(real: Sequence[Verdict], decoded: Sequence[Verdict]) -> Tensor:
    """Return how far the layers' outputs are apart, each in units of its own size."""
    losses = []
    for a, b in zip(real, decoded, strict=True):
        for wanted, found in zip(a[:-1], b[:-1], strict=True):
            wanted = wanted.detach().float()
            losses.append((found.float() - wanted).abs().mean() / (wanted.abs().mean() + 1e-6))
    return torch.stack(losses).mean()
