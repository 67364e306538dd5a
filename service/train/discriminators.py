"""Networks that tell sounds from decoded ones, by their periods and by their spectra.

They train against the codec, and are thrown away after.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from omnicodec.service.train.critics import Critics, Judgement, Verdict, judged

PERIODS = (2, 3, 5, 7, 11)
WINDOWS = (256, 512, 1024)
SLOPE = 0.1


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
        return judged(x, self.layers, self.score, SLOPE)


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
        return judged((parts * power**-0.35).permute(0, 3, 1, 2), self.layers, self.score, SLOPE)


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


def judge_sounds(
    critics: Critics, decoded: Tensor, real: Tensor, size: int, step: int
) -> Judgement:
    """Let `critics` with a network of `Discriminators` judge clips `(B, T)`.

    A step asks two of the periods and one of the spectra, in turn, about `size` samples of
    each clip: a third of the work, and in the mean the same gradient.
    """
    start = (step * 7919) % (real.shape[1] - size + 1)
    members = [
        step % len(PERIODS),
        (step + 2) % len(PERIODS),
        len(PERIODS) + step % len(WINDOWS),
    ]
    return critics.judge(
        decoded[:, start : start + size],
        real[:, start : start + size],
        lambda samples: critics.network(samples, members),
    )
