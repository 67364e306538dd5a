"""From latents to pixels: the bands are put together, doubling by doubling, and then corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.inr.pyramid import CHANNELS, COLOURS
from omnicodec.models.inr.wavelet import TAPS, doubling, extended

COLOUR_AXES: Final = F.normalize(torch.tensor([[1.0, 1, 1], [1, 0, -1], [-1, 2, -1]]))
"""Luma and two colours of red, green and blue, `(3, 3)`: where training begins."""


@dataclass(frozen=True, kw_only=True)
class SynthesisConfig:
    """Channels of the correction's two hidden layers."""

    first: int = 32
    second: int = 16


class Synthesis(nn.Module):
    """Pixels `(B, 3, H, W)`, in 0 to 1 but not cut to it, of latents in the units of the signal.

    The correction runs at half resolution, where it sees four pixels and the finest bands at once:
    on a CPU that is a quarter of the work.
    """

    def __init__(self, config: SynthesisConfig) -> None:
        super().__init__()
        self.doublings = nn.ModuleList(doubling_layer(count) for count in CHANNELS[1:])
        self.colours = nn.Conv2d(COLOURS, 3, 1)
        self.colours.weight.data.copy_(COLOUR_AXES.T[:, :, None, None])
        nn.init.constant_(self.colours.bias, 0.5)  # type: ignore[arg-type]
        self.first = nn.Conv2d(4 * COLOURS + CHANNELS[-1], config.first, 3, padding=1)
        self.first_rate = nn.Parameter(torch.zeros(config.first))
        self.second = nn.Conv2d(config.first, config.second, 1)
        self.last = nn.Conv2d(config.second, 4 * COLOURS, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, scales: list[Tensor], rate: float) -> Tensor:
        """Return the pixels of scales `(B, C, h, w)`, coarse first."""
        picture = scales[0]
        for double, bands in zip(self.doublings, scales[1:], strict=True):
            phases = double(extended(picture, bands))
            picture = F.pixel_shuffle(phases, 2)
        x = torch.cat([phases, bands], 1)
        hidden = F.relu(self.first(x) + (rate * self.first_rate)[:, None, None])
        phases = phases + self.last(F.relu(self.second(hidden)))
        pixels: Tensor = self.colours(F.pixel_shuffle(phases, 2))
        return pixels.float()


def doubling_layer(bands: int) -> nn.Conv2d:
    """Return the convolution from a small picture and its bands to four phases of each plane."""
    layer = nn.Conv2d(COLOURS + bands, 4 * COLOURS, TAPS)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    kernels = doubling()
    for colour in range(COLOURS):
        phases = layer.weight.data[4 * colour : 4 * colour + 4]
        phases[:, colour] = kernels[:, 0]
        if 3 * colour < bands:
            phases[:, COLOURS + colour :: bands // 3] = kernels[:, 1:]
    return layer
