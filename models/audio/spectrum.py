"""The two ends of `audio/rvq`: frames of samples to a spectrum and back, and its envelope."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

FLOOR = 1e-8
"""Power added to each band of the envelope: 80 dB below full scale."""


class MDCT(nn.Module):
    """The modified discrete cosine transform of frames two hops long, one hop apart.

    As many numbers as samples, and the samples come back exactly when neighbouring frames
    are overlapped and added (Princen, Johnson & Bradley 1987). A coefficient's variance is
    that of the samples. A product with a matrix is quick enough at these sizes, and a
    stream's pieces give what the whole gives.
    """

    basis: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        n, k = torch.arange(2 * hop).double()[:, None], torch.arange(hop).double()
        waves = torch.cos(torch.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5)) * (2 / hop) ** 0.5
        basis = (waves * sine_window(hop).double()[:, None]).float()
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the coefficients `(..., hop)` of frames `(..., 2 * hop)`."""
        # One product: frames that are views of the same samples would make many small ones.
        spectrum: Tensor = frames.reshape(-1, 2 * self.hop) @ self.basis
        return spectrum.reshape(*frames.shape[:-1], self.hop)

    def inverse(self, spectrum: Tensor) -> Tensor:
        """Return the frames `(..., 2 * hop)` whose overlapped sum is the samples."""
        frames: Tensor = spectrum @ self.basis.T
        return frames


class Envelope(nn.Module):
    """How loud the bands of a spectrum are, and the smooth curve through that.

    Bands are evenly spaced in mel, and at least one bin wide.
    """

    members: Tensor
    between: Tensor

    def __init__(self, rate: int, hop: int, bands: int) -> None:
        super().__init__()
        edges = band_edges(rate, hop, bands)
        self.bands = len(edges) - 1
        members = torch.zeros(hop, self.bands)
        for band in range(self.bands):
            members[edges[band] : edges[band + 1], band] = 1 / (edges[band + 1] - edges[band])
        self.register_buffer("members", members, persistent=False)
        self.register_buffer("between", _interpolation(edges), persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return the logarithm of each band's root mean square: `(..., hop)` to `(..., bands)`."""
        return torch.log(spectrum.square() @ self.members + FLOOR) / 2

    def curve(self, levels: Tensor) -> Tensor:
        """Return the amplitude of each bin, `(..., hop)`, of levels `(..., bands)`."""
        return torch.exp(levels @ self.between)


def band_edges(rate: int, hop: int, bands: int) -> list[int]:
    """Return the first bin of each band, and the number of bins; narrow bands are merged."""
    top = math.log1p(rate / 2 / 700)
    hertz = [700 * math.expm1(top * i / bands) for i in range(bands + 1)]
    return sorted({round(each * 2 * hop / rate) for each in hertz})


def _interpolation(edges: list[int]) -> Tensor:
    """Return the matrix that draws lines between the centres of bands, `(bands, hop)`."""
    centres = torch.tensor([(a + b - 1) / 2 for a, b in pairwise(edges)])
    bins = torch.arange(edges[-1]).float()
    right = torch.searchsorted(centres, bins).clamp(1, len(centres) - 1)
    left = right - 1
    part = ((bins - centres[left]) / (centres[right] - centres[left])).clamp(0, 1)
    matrix = torch.zeros(len(centres), edges[-1])
    matrix[right, bins.long()] = part
    matrix[left, bins.long()] = 1 - part
    return matrix


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
