"""Layers that several networks share; all work on `(B, C, H, W)` in channels-last memory."""

from __future__ import annotations

from typing import Final, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

N = TypeVar("N", bound=nn.Module)

_ONEDNN: Final = torch.backends.mkldnn.is_available()


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each position.

    Unlike GroupNorm it sees one position at a time, so a result never depends on the
    picture's size or on what lies far away.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6
        )
        return normed.permute(0, 3, 1, 2)


class Pointwise(nn.Module):
    """A 1x1 convolution whose weight is a matrix `(out, in)`, as matrix optimizers want it."""

    def __init__(self, inputs: int, outputs: int, *, zero: bool = False) -> None:
        super().__init__()
        bound = 0.0 if zero else inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight[:, :, None, None]
        if x.device.type == "cpu" and not torch.is_grad_enabled() and _ONEDNN:
            # With one thread, or for small pictures, `conv2d` goes another way than with two: much
            # slower for matrices of our sizes, and with other last bits.
            return torch.mkldnn_convolution(x, weight, self.bias, (0, 0), (1, 1), (1, 1), 1)
        return F.conv2d(x, weight, self.bias)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, norm, and a pointwise MLP, around a residual.

    After "A ConvNet for the 2020s" (Liu et al. 2022, arXiv:2201.03545), without its layer
    scale: the last convolution starts at zero instead.
    """

    def __init__(self, channels: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = ChannelNorm(channels)
        self.expand = Pointwise(channels, expansion * channels)
        self.project = Pointwise(expansion * channels, channels, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.gelu(self.expand(self.norm(self.depthwise(x))))
        y: Tensor = x + self.project(hidden)
        return y


def channels_last(network: N) -> N:
    """Put the kernels of a network in channels-last memory; return the network.

    What `Module.to(memory_format=...)` does, in a form that type checkers know.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def quick_dtype(device: str) -> torch.dtype:
    """Return bfloat16 on CPUs that have instructions for it, else float32."""
    # Private, and so asked with care: torch has no public way to know.
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if device == "cpu" and known() else torch.float32
