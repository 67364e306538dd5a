"""The short-time spectra on both ends of `audio/rvq`: overlapping frames, and back."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POWER = 0.3
"""Magnitudes are raised to this: about how loudness grows with pressure."""

LOUDEST = 4.0
"""Compressed magnitude beyond which features grow no faster than themselves: a sine at full
scale has 2.2."""


class Analysis(nn.Module):
    """Frames to features: real and imaginary parts of each one's compressed spectrum.

    Frames are two hops long, one hop apart; the window is a sine.
    """

    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.features = 2 * (hop + 1)
        self.register_buffer("window", sine_window(hop), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the features, float32 `(..., features)`, of frames `(..., 2 * hop)`."""
        spectrum = torch.fft.rfft(frames * self.window) / self.hop**0.5
        parts = torch.view_as_real(spectrum)
        power = parts.square().sum(-1, keepdim=True) + 1e-7
        features: Tensor = (parts * power ** ((POWER - 1) / 2)).flatten(-2)
        return features


class Synthesis(nn.Module):
    """Features to frames: the inverse of `Analysis`, but for what a network made of them.

    The frames are put together again by overlapping and adding, under the window of
    `Analysis`: what comes out of that unchanged is the samples that went in. An inverse-STFT
    head as in Vocos (Siuzdak 2023, arXiv:2306.00814), in the compressed domain.
    """

    window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.features = 2 * (hop + 1)
        self.register_buffer("window", sine_window(hop), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return frames, float32 `(B, N, 2 * hop)`, of features `(B, N, features)`."""
        parts = features.float().unflatten(-1, (self.hop + 1, 2))
        power = parts.square().sum(-1, keepdim=True).clamp(max=LOUDEST**2) + 1e-7
        spectrum = torch.view_as_complex(parts * power ** ((1 / POWER - 1) / 2))
        frames: Tensor = torch.fft.irfft(spectrum * self.hop**0.5, 2 * self.hop) * self.window
        return frames


def split(samples: Tensor, hops: int, hop: int) -> Tensor:
    """Return rows of `hops` hops, one hop apart: `(B, T)` to `(B, T / hop - hops + 1, ...)`."""
    return samples.unfold(-1, hops * hop, hop)


def overlap_add(frames: Tensor) -> Tensor:
    """Return the samples `(B, (N - 1) * hop)` that frames `(B, N, 2 * hop)` have in common."""
    hop = frames.shape[-1] // 2
    return (frames[:, :-1, hop:] + frames[:, 1:, :hop]).flatten(1)


def sine_window(hop: int) -> Tensor:
    """Return the window of two hops whose square adds up to 1 with its neighbour's."""
    return torch.sin(torch.pi * (torch.arange(2 * hop) + 0.5) / (2 * hop))
