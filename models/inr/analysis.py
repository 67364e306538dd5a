"""From pixels to the latents that a fit begins with: a network that is trained once.

It is the wavelet transform that `synthesis` undoes, with what a network of all scales adds to its
bands.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.inr.pyramid import CHANNELS, COLOURS, LEVELS
from omnicodec.models.inr.synthesis import COLOUR_AXES
from omnicodec.models.inr.wavelet import TAPS, halving, mirrored
from omnicodec.models.layers import ChannelNorm, ConvNeXtBlock, Pointwise


@dataclass(frozen=True, kw_only=True)
class AnalysisConfig:
    """Channels and blocks at half resolution, at a quarter, and so on."""

    channels: tuple[int, ...] = (32, 64, 96, 96, 96)
    blocks: tuple[int, ...] = (1, 1, 1, 1, 1)
    kernel: int = 5
    expansion: int = 2


class Analysis(nn.Module):
    """Scales `(B, C, h, w)`, coarse first, of pixels in 0 to 1: of the wavelet, and what to add.

    The former are in the units of the signal. The latter count steps, as what is worth changing
    grows with them.
    """

    def __init__(self, config: AnalysisConfig) -> None:
        super().__init__()
        channels = config.channels
        if len(channels) != LEVELS or len(config.blocks) != LEVELS:
            raise ValueError(f"there are {LEVELS} resolutions below the pixels'")

        def stage(which: int) -> nn.Sequential:
            width, count = channels[which], config.blocks[which]
            blocks = (ConvNeXtBlock(width, config.kernel, config.expansion) for _ in range(count))
            return nn.Sequential(*blocks)

        last = LEVELS - 1
        self.colours = nn.Conv2d(3, COLOURS, 1, bias=False)
        self.colours.weight.data.copy_(COLOUR_AXES[:, :, None, None])
        self.halvings = nn.ModuleList(_halving(count) for count in reversed(CHANNELS[1:]))
        self.embed = nn.Conv2d(12, channels[0], 3, padding=1)
        self.down = nn.ModuleList(stage(k) for k in range(LEVELS))
        self.shrink = nn.ModuleList(
            nn.Conv2d(channels[k], channels[k + 1], 2, 2) for k in range(last)
        )
        self.grow = nn.ModuleList(Pointwise(channels[k + 1], channels[k]) for k in range(last))
        self.up = nn.ModuleList(stage(k) for k in range(last))
        counts = [*reversed(CHANNELS[2:]), CHANNELS[1] + COLOURS]
        self.heads = nn.ModuleList(
            nn.Sequential(ChannelNorm(width), Pointwise(width, count, zero=True))
            for width, count in zip(channels, counts, strict=True)
        )

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the scales; both sides are multiples of `pyramid.ALIGN`."""
        pixels = pixels - 0.5
        linear = self._transformed(self.colours(pixels))
        added = self._added(F.pixel_unshuffle(pixels, 2))
        return [y.float() for y in linear], [y.float() for y in added]

    def _transformed(self, picture: Tensor) -> list[Tensor]:
        """Return the scales of the wavelet transform."""
        bands = []
        for halving_ in self.halvings:
            wide = mirrored(picture)
            found = halving_(F.pixel_unshuffle(wide, 2))
            picture, finer = found[:, :COLOURS], found[:, COLOURS:]
            bands.append(finer)
        return [picture, *reversed(bands)]

    def _added(self, x: Tensor) -> list[Tensor]:
        """Return what the network adds: down by halves, and up again."""
        hidden = self.embed(x)
        stages: list[Tensor] = []
        for k, stage in enumerate(self.down):
            hidden = stage(hidden)
            stages.append(hidden)
            if k < len(self.shrink):
                hidden = self.shrink[k](hidden)
        drawn = self.heads[-1](hidden)
        added = [drawn[:, :COLOURS], drawn[:, COLOURS:]]
        for k in range(LEVELS - 2, -1, -1):
            grown = F.interpolate(self.grow[k](hidden), scale_factor=2, mode="nearest")
            hidden = self.up[k](stages[k] + grown)
            added.append(self.heads[k](hidden))
        return added


def _halving(bands: int) -> nn.Conv2d:
    """Return the convolution from four phases of each plane to a small picture and its bands."""
    layer = nn.Conv2d(4 * COLOURS, COLOURS + bands, TAPS, bias=False)
    nn.init.zeros_(layer.weight)
    kernels = halving()
    for colour in range(COLOURS):
        phases = slice(4 * colour, 4 * colour + 4)
        layer.weight.data[colour, phases] = kernels[0]
        if 3 * colour < bands:
            first = COLOURS + 3 * colour
            layer.weight.data[first : first + 3, phases] = kernels[1:]
    return layer
