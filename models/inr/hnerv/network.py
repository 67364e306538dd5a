"""Encoder and decoder, as they are fitted."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.inr.hnerv.shape import Shape
from omnicodec.models.layers import ChannelNorm, ConvNeXtBlock

ENCODER_WIDTH: Final = 64
ENCODER_KERNEL: Final = 7
ENCODER_EXPANSION: Final = 4


class Encoder(nn.Sequential):
    """Embeddings `(B, C, h, w)` of padded frames `(B, 3, H, W)` in 0 to 1.

    For each stride a convolution that does not overlap, and a ConvNeXt block.
    """

    def __init__(self, shape: Shape) -> None:
        stages: list[nn.Module] = []
        inputs = 3
        for k, stride in enumerate(shape.strides):
            last = k == len(shape.strides) - 1
            outputs = shape.embedding[0] if last else ENCODER_WIDTH
            shrink = nn.Conv2d(inputs, outputs, stride, stride)
            # The norm is behind the first convolution, before the others.
            stages += [shrink, ChannelNorm(outputs)] if k == 0 else [ChannelNorm(inputs), shrink]
            stages.append(ConvNeXtBlock(outputs, ENCODER_KERNEL, ENCODER_EXPANSION))
            inputs = outputs
        super().__init__(*stages)


class Decoder(nn.Module):
    """Padded frames `(B, 3, H, W)` in 0 to 1, of embeddings `(B, C, h, w)`.

    Blocks of a convolution, a pixel shuffle and a GELU (in its form with tanh, of which integers
    have a table). The paper's `ks 0_1_5, reduce 1.2`: kernels grow as channels become fewer.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.strides = (1, *shape.strides)
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, k, padding=k // 2)
            for inputs, outputs, k, _ in shape.layers()
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        x = embeddings
        for layer, stride in zip(self.layers[:-1], self.strides, strict=True):
            x = F.gelu(F.pixel_shuffle(layer(x), stride), approximate="tanh")
        return torch.tanh(self.layers[-1](x).float()) * 0.5 + 0.5
