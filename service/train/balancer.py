"""Several losses of one output, each with the share of the gradient that it is meant to have."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Balancer(nn.Module):
    """Scales the gradients of losses so that their weights say what they mean.

    The loss balancer of EnCodec (Défossez et al. 2022, arXiv:2210.13438): the gradient of
    each loss by the output is divided by a moving average of its norm. Here norms are
    measured in the first loss's, which so keeps its own scale.
    """

    norms: Tensor

    def __init__(self, weights: Mapping[str, float], decay: float = 0.99) -> None:
        super().__init__()
        self.weights = dict(weights)
        self.decay = decay
        self.register_buffer("norms", torch.zeros(len(weights)))

    def gradient(self, losses: Mapping[str, Tensor], output: Tensor) -> Tensor:
        """Return the gradient by `output`, a leaf, of losses that it was given to.

        Losses may be some of those with a weight, but the first must be among them.
        """
        total = torch.zeros_like(output)
        for i, (name, weight) in enumerate(self.weights.items()):
            if name not in losses:
                continue
            (gradient,) = torch.autograd.grad(losses[name], output, retain_graph=True)
            norm = gradient.flatten(1).norm(dim=1).mean()
            known = self.norms[i] > 0
            self.norms[i] = self.norms[i].lerp(norm, 1 - self.decay) if known else norm
            total += gradient * (weight * self.norms[0] / self.norms[i].clamp(min=1e-12))
        return total
