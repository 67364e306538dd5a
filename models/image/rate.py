"""The networks of `image/rate`: pixels to integer latents at any quality, and back.

    pixels ──lapped transform + network──▶ latents in steps ──round──▶ integers
    integers ──times steps──▶ lapped transform + network ──▶ pixels

Both directions begin as an orthonormal lapped transform (`lapped`), whose functions and step
sizes are trained, and networks that begin at zero add what a linear transform cannot do.
After "Asymmetrically-powered Neural Image Compression with Shallow Decoders" (Yang and Mandt
2023, arXiv:2304.06244) the analysis is the larger part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.image.lapped import lapped_kernels
from omnicodec.models.layers import (
    ChannelNorm,
    ConvNeXtBlock,
    Pointwise,
    channels_last,
    quick_dtype,
)

ANCHORS: Final = 5
"""Qualities 0, 25, 50, 75 and 100, between which steps and networks are interpolated."""

GAIN: Final = 0.25
"""Results of networks count this much, so that the first steps of training do little harm."""

REACH: Final = 8.0
"""Companded latents are cut off here."""

PEAK: Final = 127.5
"""Pixels are -1 to 1 in networks; steps are told in levels of 8 bits."""


@dataclass(frozen=True, kw_only=True)
class RateConfig:
    """Shape of the networks; the defaults are what `image/rate` ships.

    `coarsest` and `finest` are the step sizes at qualities 0 and 100 that training starts from,
    in 8-bit levels of an orthonormal transform.
    """

    patch: int = 16
    channels: int = 256
    coarsest: float = 180.0
    finest: float = 6.0
    stem_channels: int = 128
    stem_blocks: int = 1
    encoder_channels: int = 320
    encoder_blocks: int = 5
    decoder_channels: int = 256
    decoder_blocks: int = 4
    head_channels: int = 96
    head_blocks: int = 4
    kernel: int = 7
    head_kernel: int = 5

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        return cls(**{k: v for k, v in values.items() if k in known})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def step(self, quality: Tensor) -> Tensor:
        """Return the step size that training starts from at qualities of 0 to 100."""
        return self.coarsest * (self.finest / self.coarsest) ** (quality / 100)


def anchor_weights(quality: Tensor) -> Tensor:
    """Return what each anchor counts at qualities `(B,)` of 0 to 100: `(B, ANCHORS)`."""
    place = quality[:, None] * ((ANCHORS - 1) / 100)
    anchors = torch.arange(ANCHORS, device=quality.device)
    return (1 - (place - anchors).abs()).clamp(min=0)


def companded(y: Tensor) -> Tensor:
    """Return sign(y) log2(1 + |y|), at most 8 in size: how latents enter networks."""
    return (y.sign() * torch.log2(1 + y.abs())).clamp(-REACH, REACH)


class Modulation(nn.Module):
    """Scale and shift of channels that depend on the quality."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(ANCHORS, channels))
        self.shift = nn.Parameter(torch.zeros(ANCHORS, channels))

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        scale, shift = (weights.to(p.dtype) @ p for p in (self.scale, self.shift))
        return x * scale[:, :, None, None] + shift[:, :, None, None]


class Analysis(nn.Module):
    """Pixels `(B, 3, H, W)` to real-valued latents `(B, channels, H / patch, W / patch)`."""

    def __init__(self, config: RateConfig) -> None:
        super().__init__()
        c, s, e = config.channels, config.stem_channels, config.encoder_channels
        half = config.patch // 2
        self.patch = config.patch
        self.transform = nn.Parameter(torch.zeros(c, 3 * config.patch**2, 2, 2))
        self.project_in = Pointwise(c, e)
        self.stem = nn.Conv2d(3, s, half, half)
        self.fine = _blocks(config.stem_blocks, s, config.kernel, 4)
        self.merge = nn.Conv2d(s, e, 2, 2)
        self.modulation = Modulation(e)
        self.blocks = _blocks(config.encoder_blocks, e, config.kernel, 4)
        self.norm = ChannelNorm(e)
        self.project_out = Pointwise(e, 2 * c, zero=True)
        self.dead = nn.Parameter(torch.full((ANCHORS, c), -1.0))
        self.width = nn.Parameter(torch.zeros(c))

    def forward(self, pixels: Tensor, steps: Tensor, weights: Tensor) -> Tensor:
        blocks = F.pixel_unshuffle(mirrored(pixels, self.patch // 2), self.patch)
        linear = F.conv2d(blocks, self.transform) / steps[:, :, None, None]
        dtype = self.stem.weight.dtype
        hidden = self.merge(self.fine(self.stem(pixels.to(dtype))))
        hidden = hidden + self.project_in(companded(linear).to(dtype))
        hidden = self.norm(self.blocks(self.modulation(hidden, weights)))
        shift, gate = self.project_out(hidden).float().chunk(2, 1)
        gate = torch.sigmoid(gate + (weights @ self.dead)[:, :, None, None])
        # Small latents shrink towards 0 where the network opens the gate: a dead zone that
        # knows its surroundings, since many bits are saved there for little error.
        near = torch.exp(-((linear / self.width.exp()[:, None, None]) ** 2))
        y: Tensor = linear * (1 - gate * near) + GAIN * shift
        return y


class Synthesis(nn.Module):
    """Latents to pixels: the inverse transform, and what a small network adds to it."""

    signs: Tensor
    spread: Tensor

    def __init__(self, config: RateConfig) -> None:
        super().__init__()
        c, d, h = config.channels, config.decoder_channels, config.head_channels
        half = config.patch // 2
        self.patch = config.patch
        self.transform = nn.Parameter(torch.zeros(3 * config.patch**2, c, 2, 2))
        # A picture goes on mirrored beyond its border, where antisymmetric functions turn round.
        self.register_buffer("signs", torch.ones(2, c))
        self.register_buffer("spread", torch.ones(c))
        self.project_in = Pointwise(2 * c, d)
        self.modulation = Modulation(d)
        self.blocks = _blocks(config.decoder_blocks, d, config.kernel, 2)
        self.norm = ChannelNorm(d)
        self.correct = Pointwise(d, c, zero=True)
        self.widen = nn.Sequential(Pointwise(d, 4 * h), nn.PixelShuffle(2))
        self.look = Pointwise(3 * half * half, h, zero=True)
        self.head = _blocks(config.head_blocks, h, config.head_kernel, 2)
        self.head_norm = ChannelNorm(h)
        self.to_pixels = nn.Conv2d(h, 3 * half * half, 3, padding=1)
        for parameter in self.to_pixels.parameters():
            nn.init.zeros_(parameter)

    def forward(self, latents: Tensor, steps: Tensor, weights: Tensor, amount: Tensor) -> Tensor:
        """Return pixels, not clipped; `amount` `(B,)` is the unit of what the head draws.

        The network corrects latents, in steps, before the inverse transform, and pixels after.
        """
        size = steps[:, :, None, None]
        dtype = self.project_in.weight.dtype
        seen = torch.cat([companded(latents), latents * size / self.spread[:, None, None]], 1)
        hidden = self.blocks(self.modulation(self.project_in(seen.to(dtype)), weights))
        hidden = self.norm(hidden)
        y = (latents + GAIN * self.correct(hidden).float()) * size
        linear = F.pixel_shuffle(F.conv2d(self._beyond(y), self.transform), self.patch)
        edge = self.patch // 2
        linear = linear[:, :, edge:-edge, edge:-edge]
        # What it corrects, the head sees: ringing beside an edge is easiest to tell in pixels.
        seen = F.pixel_unshuffle(linear, edge).unflatten(1, (3, -1))
        seen = (seen - seen.mean(2, keepdim=True)).flatten(1, 2) / amount[:, None, None, None]
        hidden = self.widen(hidden) + self.look(seen.clamp(-REACH, REACH).to(dtype))
        drawn = self.to_pixels(self.head_norm(self.head(hidden)))
        drawn = F.pixel_shuffle(drawn, edge) * (GAIN * amount[:, None, None, None])
        pixels: Tensor = linear + drawn
        return pixels

    def _beyond(self, y: Tensor) -> Tensor:
        """Return latents with one more position on each side, as of a mirrored picture."""
        down, across = self.signs[:, :, None, None]
        y = torch.cat([y[:, :, :1] * down, y, y[:, :, -1:] * down], 2)
        return torch.cat([y[:, :, :, :1] * across, y, y[:, :, :, -1:] * across], 3)


class ImageRate(nn.Module):
    """Analysis, step sizes and synthesis.

    Pixels are float `(B, 3, H, W)` in -1 to 1, H and W multiples of the patch; latents
    `(B, channels, H / patch, W / patch)` in steps; qualities float `(B,)`, 0 to 100.
    """

    def __init__(self, config: RateConfig) -> None:
        super().__init__()
        self.config = config
        self.analysis = Analysis(config)
        self.synthesis = Synthesis(config)
        start = config.step(torch.linspace(0, 100, ANCHORS)) / PEAK
        self.log_steps = nn.Parameter(start.log()[:, None].repeat(1, config.channels))

    def start(self, chosen: Tensor, spread: Tensor) -> None:
        """Begin as the lapped transform: `chosen` are its kernels, in order of the channels.

        `spread` `(channels,)` are the standard deviations of their coefficients, with pixels
        of -1 to 1.
        """
        size = self.config.patch
        kernels = torch.from_numpy(lapped_kernels(size)).float()[chosen]
        parts = kernels.view(-1, 3, 2, size, 2, size).permute(0, 1, 3, 5, 2, 4)
        matrix = parts.reshape(-1, 3 * size * size, 2, 2)
        self.analysis.transform.data.copy_(matrix)
        # Synthesis sees the position to the lower right of a block's corner last.
        self.synthesis.transform.data.copy_(matrix.transpose(0, 1).flip(2, 3))
        self.synthesis.spread.copy_(spread)
        row, column = chosen // size % size, chosen % size
        self.synthesis.signs.copy_(1 - 2 * (torch.stack([row, column]) % 2).float())

    def steps(self, quality: Tensor) -> Tensor:
        """Return the step size of each channel, `(B, channels)`."""
        return (anchor_weights(quality) @ self.log_steps).exp()

    def analyse(self, pixels: Tensor, quality: Tensor) -> Tensor:
        """Return the latents in steps, not rounded."""
        y: Tensor = self.analysis(pixels, self.steps(quality), anchor_weights(quality))
        return y

    def render(self, latents: Tensor, quality: Tensor) -> Tensor:
        """Return the pixels of latents, not clipped to -1 to 1."""
        amount = self.config.step(quality) / PEAK
        pixels: Tensor = self.synthesis(
            latents, self.steps(quality), anchor_weights(quality), amount
        )
        return pixels


def build(config: RateConfig, tensors: Mapping[str, Tensor], device: str) -> ImageRate:
    """Return the networks with these weights, ready for inference on a device.

    The transforms are in float32, the networks in bfloat16 where the machine is quick at it.
    """
    with torch.device("meta"):
        network = ImageRate(config)
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    for direction in (network.analysis, network.synthesis):
        for part in direction.children():
            part.to(quick_dtype(device))
    return channels_last(network.to(device).eval().requires_grad_(False))


def mirrored(pixels: Tensor, margin: int) -> Tensor:
    """Return a picture with `margin` more pixels on each side, mirrored at its border."""
    top, bottom = pixels[:, :, :margin].flip(2), pixels[:, :, -margin:].flip(2)
    pixels = torch.cat([top, pixels, bottom], 2)
    left, right = pixels[:, :, :, :margin].flip(3), pixels[:, :, :, -margin:].flip(3)
    return torch.cat([left, pixels, right], 3)


def weight_of(quality: Tensor, config: RateConfig) -> Tensor:
    """Return what a mean squared error of one 8-bit level costs at a quality, in bits a pixel.

    A uniform quantizer of step d at its optimum trades them so (Gersho 1979, at high rates).
    """
    return 3 / (config.step(quality) ** 2 * math.log(2) / 6)


def _blocks(count: int, channels: int, kernel: int, expansion: int) -> nn.Sequential:
    return nn.Sequential(*(ConvNeXtBlock(channels, kernel, expansion) for _ in range(count)))
