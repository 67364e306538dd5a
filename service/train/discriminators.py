"""Networks that tell sounds from decoded ones, by their periods and by their spectra.

They train against the codec, and are thrown away after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

Verdict = list[Tensor]
"""The layers' outputs, the last of which is the score: above 0 for what is taken for real."""

PERIODS = (2, 3, 5, 7, 11)
WINDOWS = (256, 512, 1024)


class PeriodDiscriminator(nn.Module):
    """Looks at every p-th sample, as in HiFi-GAN (Kong et al. 2020, arXiv:2010.05646)."""

    def __init__(self, period: int, channels: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.period = period
        widths = [1, *channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(widths)
        )
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, samples: Tensor) -> Verdict:
        """Judge samples `(B, T)`."""
        whole = samples.shape[1] // self.period * self.period
        x = samples[:, :whole].reshape(len(samples), 1, -1, self.period)
        return _judge(x, self.layers, self.score)


class SpectrumDiscriminator(nn.Module):
    """Looks at a complex spectrum, as in EnCodec (Défossez et al. 2022, arXiv:2210.13438)."""

    window: Tensor

    def __init__(self, size: int, channels: Sequence[int] = (16, 24, 32, 32)) -> None:
        super().__init__()
        self.size = size
        widths = [2, *channels]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (7, 3), (2, 1), (3, 1))) for a, b in pairwise(widths)
        )
        self.score = weight_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, samples: Tensor) -> Verdict:
        """Judge samples `(B, T)`."""
        spectrum = torch.stft(
            samples, self.size, self.size // 4, window=self.window, return_complex=True
        )
        parts = torch.view_as_real(spectrum) * (2 / self.size)
        power = parts.square().sum(-1, keepdim=True) + 1e-7
        # Compressed as hearing is, or only what is loud would count.
        return _judge((parts * power**-0.35).permute(0, 3, 1, 2), self.layers, self.score)


def _judge(x: Tensor, layers: nn.ModuleList, score: nn.Module) -> Verdict:
    seen = []
    for layer in layers:
        x = F.leaky_relu(layer(x), 0.1)
        seen.append(x)
    return [*seen, score(x)]


class Discriminators(nn.Module):
    """All of them; a step may ask some."""

    def __init__(self) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [
                *(PeriodDiscriminator(period) for period in PERIODS),
                *(SpectrumDiscriminator(size) for size in WINDOWS),
            ]
        )

    def forward(self, samples: Tensor, members: Sequence[int]) -> list[Verdict]:
        """Return the verdicts of the members with these numbers on samples `(B, T)`."""
        return [self.members[i](samples) for i in members]


@dataclass(frozen=True)
class Judgement:
    """What the discriminators make of a batch: the codec's losses, and their own."""

    losses: dict[str, Tensor]
    own: Tensor


class Critics:
    """The discriminators with their optimizer.

    A step asks two of the periods and one of the spectra, in turn, about a part of the
    clips: a third of the work, and in the mean the same gradient.
    """

    def __init__(self, rate: float, device: torch.device) -> None:
        self.network = Discriminators().to(device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), rate, (0.8, 0.99))

    def judge(self, decoded: Tensor, real: Tensor, size: int, step: int) -> Judgement:
        """Learn from a batch `(B, T)`; return losses that have gradients by `decoded`."""
        start = (step * 7919) % (real.shape[1] - size + 1)
        ours, theirs = decoded[:, start : start + size], real[:, start : start + size]
        members = [
            step % len(PERIODS),
            (step + 2) % len(PERIODS),
            len(PERIODS) + step % len(WINDOWS),
        ]
        self.network.requires_grad_(True)
        with torch.autocast(real.device.type, torch.bfloat16):
            own = discriminator_loss(
                self.network(theirs, members), self.network(ours.detach(), members)
            )
        self.optimizer.zero_grad(set_to_none=True)
        own.backward()
        self.optimizer.step()
        self.network.requires_grad_(False)
        with torch.autocast(real.device.type, torch.bfloat16):
            with torch.no_grad():
                wanted = self.network(theirs, members)
            found = self.network(ours, members)
        losses = {
            "adversarial": adversarial_loss(found),
            "feature": feature_loss(wanted, found),
        }
        return Judgement(losses, own.detach())


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
