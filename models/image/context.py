"""The context model that the transform of `image/rate` is trained against, in floats.

It says how probable each latent is after those that are coded before it: the lowest channels
position by position, then three groups of channels, each in the two halves of a checkerboard
(He et al. 2021, arXiv:2103.15306; groups of channels after ELIC, He et al. 2022,
arXiv:2203.10886). The lowest channels do what a hyperprior does elsewhere, without bits of
their own. Its integer twin, which codes files, is `rate_prior`; the shapes are the same.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.image.rate import REACH, anchor_weights, companded

GROUPS: Final = (6, 32, 96, 256)
"""Where each group of channels ends."""

HIDDEN: Final = (48, 128, 192, 256)

NEAR: Final = ((0, -1), (-1, -1), (-1, 0), (-1, 1), (0, -2), (-2, 0))
"""Neighbours `(dy, dx)` that the lowest channels see; the first four predict their mean."""

PREDICTORS: Final = 4

SQUARE: Final = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


class Lowest(nn.Module):
    """Mean and scale of the first channels from what lies before them in raster order."""

    def __init__(self) -> None:
        super().__init__()
        c, h = GROUPS[0], HIDDEN[0]
        self.linear = nn.Parameter(torch.zeros(c, PREDICTORS * c))
        self.expand = Dense((len(NEAR) * c + 5 + len(NEAR), h))
        self.hidden = Dense((h, h))
        self.out = Dense((h, 2 * c), 0.1)

    def forward(self, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log of the scale, each `(B, c, H, W)`, of rounded latents."""
        known = torch.ones_like(y[:, :1])
        near = [_moved(y, *offset) for offset in NEAR]
        flags = [_moved(known, *offset) for offset in NEAR]
        north = torch.where(flags[2] > 0, near[2], near[0])
        west = torch.where(flags[0] > 0, near[0], north)
        guesses = [
            west,
            torch.where(flags[1] > 0, near[1], torch.where(flags[2] > 0, near[2], west)),
            north,
            torch.where(flags[3] > 0, near[3], north),
        ]
        with torch.autocast(y.device.type, enabled=False):  # large integers times small weights
            mean = F.conv2d(torch.cat(guesses, 1), self.linear[:, :, None, None])
        about = mean.detach().round()
        seen = [companded(x - about) * flag for x, flag in zip(near, flags, strict=True)]
        extras = _plane(4 * weights, y)
        hidden = _relu(self.expand(torch.cat([*seen, extras, *flags], 1)))
        shift, scale = self.out(_relu(self.hidden(hidden))).chunk(2, 1)
        return mean + shift, scale


class Group(nn.Module):
    """Mean and scale of a group of channels, given those before it and half of its own.

    The rows of `enter` are the 3x3 neighbourhood, place by place, of all channels up to the
    group's end, then 5 weights of the quality, the parity and 9 flags of places that are known.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.first, self.last = GROUPS[number - 1], GROUPS[number]
        h = HIDDEN[number]
        self.enter = Dense((9 * self.last + 15, h))
        self.expand = Dense((h, 2 * h))
        self.project = Dense((2 * h, h), 0.0)
        self.out = Dense((h, 2 * (self.last - self.first)), 0.1)

    def forward(self, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        low = GROUPS[0]
        odd = _odd(y)
        base, centre = companded(y[:, low : self.first]), y[:, :low]
        own = companded(y[:, self.first : self.last]) * (1 - odd)
        matrix = self.enter.weight
        near, extra = matrix[:, : 9 * self.last], matrix[:, 9 * self.last :]
        kernel = near.view(-1, 3, 3, self.last).permute(0, 3, 1, 2)
        x = F.conv2d(own, kernel[:, self.first :], padding=1) * odd
        if self.first > low:
            x = x + F.conv2d(base, kernel[:, low : self.first], padding=1)
        flags = [_moved(torch.ones_like(odd), *offset) for offset in SQUARE]
        lowest = [
            (companded(_moved(centre, *offset) - centre) * flag) if any(offset) else (
                companded(centre)
            )
            for offset, flag in zip(SQUARE, flags, strict=True)
        ]  # fmt: skip
        kept = near.view(-1, 9, self.last)[:, :, :low].reshape(len(matrix), -1)
        rest = torch.cat([*lowest, _plane(4 * weights, y), odd, *flags], 1)
        x = x + F.conv2d(rest, torch.cat([kept, extra], 1)[:, :, None, None])
        hidden = _relu(x + self.enter.bias[:, None, None])
        hidden = hidden + self.project(_relu(self.expand(hidden)))
        shift, scale = self.out(hidden.clamp(-REACH, REACH)).chunk(2, 1)
        return shift, scale


class ContextModel(nn.Module):
    """Mean and scale of all latents: `(B, C, H, W)` rounded latents in, twice that out."""

    def __init__(self) -> None:
        super().__init__()
        self.lowest = Lowest()
        self.groups = nn.ModuleList(Group(number) for number in range(1, len(GROUPS)))

    def forward(self, y: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        """Return means, in steps, and scales of logistic distributions."""
        weights = anchor_weights(quality)
        found = [self.lowest(y[:, : GROUPS[0]], weights)]
        found += [group(y, weights) for group in self.groups]
        means, scales = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return means, scales.float().clamp(-4, 7).exp()


def bits(y: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """Return the information of latents, in bits: a logistic over an interval of one step.

    For latents with noise of a step's width it is what rounding would cost (Ballé et al. 2017,
    arXiv:1611.01704).
    """
    away = (y.float() - mean.float()).abs()
    upper, lower = (0.5 - away) / scale, (-0.5 - away) / scale
    return -torch.log2((torch.sigmoid(upper) - torch.sigmoid(lower)).clamp(min=2**-20))


class Dense(nn.Module):
    """A 1x1 convolution whose weight is a matrix `(out, in)`."""

    def __init__(self, shape: tuple[int, int], gain: float = 1.0) -> None:
        super().__init__()
        inputs, outputs = shape
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None], self.bias)


def _relu(x: Tensor) -> Tensor:
    return x.clamp(0, REACH)


def _plane(values: Tensor, like: Tensor) -> Tensor:
    return values[:, :, None, None].expand(-1, -1, *like.shape[2:]).to(like.dtype)


def _odd(y: Tensor) -> Tensor:
    rows = torch.arange(y.shape[2], device=y.device)
    columns = torch.arange(y.shape[3], device=y.device)
    odd = ((rows[:, None] + columns) % 2).to(y.dtype)
    return odd.expand(y.shape[0], 1, -1, -1)


def _moved(x: Tensor, dy: int, dx: int) -> Tensor:
    """Return what each position has at `(dy, dx)` from it, zeros beyond the border."""
    height, width = x.shape[2:]
    padded = F.pad(x, (2, 2, 2, 2))
    return padded[:, :, 2 + dy : 2 + dy + height, 2 + dx : 2 + dx + width]
