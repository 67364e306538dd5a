"""The network of `image/vq`: patches in, one codebook index a patch, patches out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn

from omnicodec.models.layers import ChannelNorm, ConvNeXtBlock, Pointwise, channels_last
from omnicodec.models.quantizers import FSQ


@dataclass(frozen=True, kw_only=True)
class ImageVQConfig:
    """Shape of the network; the defaults are what `image/vq` ships.

    The heavy layers run at one position a token, which makes the encoder some fifty times
    cheaper than the convolutional VQGANs that work at pixel resolution.
    """

    patch: int = 16
    levels: tuple[int, ...] = (8, 8, 8, 8, 4, 4)
    encoder_channels: int = 320
    encoder_blocks: int = 5
    decoder_channels: int = 384
    decoder_blocks: int = 5
    head_channels: int = 160
    head_blocks: int = 2
    kernel: int = 7
    head_kernel: int = 5
    expansion: int = 4

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        mine: dict[str, Any] = {k: v for k, v in values.items() if k in known}
        if "levels" in mine:
            mine["levels"] = tuple(mine["levels"])
        return cls(**mine)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "levels": list(self.levels)}


class ImageVQ(nn.Module):
    """Encoder, FSQ and decoder.

    Pixels are float `(B, 3, H, W)` in -1 to 1, H and W multiples of the patch; indices are
    int64 `(B, H / patch, W / patch)`.
    """

    def __init__(self, config: ImageVQConfig) -> None:
        super().__init__()
        self.config = config
        c, d, h = config.encoder_channels, config.decoder_channels, config.head_channels
        dims = len(config.levels)
        half = config.patch // 2
        self.embed = nn.Conv2d(3, c, config.patch, config.patch)
        self.encoder = _blocks(config.encoder_blocks, c, config.kernel, config.expansion)
        self.to_code = nn.Sequential(ChannelNorm(c), Pointwise(c, dims))
        self.quantizer = FSQ(config.levels)
        self.from_code = Pointwise(dims, d)
        self.decoder = _blocks(config.decoder_blocks, d, config.kernel, config.expansion)
        # The head runs at two positions a token and side, so that a patch's edge is drawn
        # from both sides; its last convolution reaches into the neighbours as well.
        self.widen = nn.Sequential(ChannelNorm(d), Pointwise(d, 4 * h), nn.PixelShuffle(2))
        self.head = _blocks(config.head_blocks, h, config.head_kernel, config.expansion)
        self.to_pixels = nn.Sequential(
            ChannelNorm(h), nn.Conv2d(h, 3 * half * half, 3, padding=1), nn.PixelShuffle(half)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the reconstruction, with gradients through the quantizer."""
        return self.render(self.quantizer(self._analyse(pixels)))

    def encode(self, pixels: Tensor) -> Tensor:
        """Return the index of each patch."""
        return self.quantizer.indices(self._analyse(pixels))

    def decode(self, indices: Tensor) -> Tensor:
        """Return the pixels of indices, not clipped to -1 to 1."""
        return self.render(self.quantizer.vectors(indices))

    def render(self, code: Tensor) -> Tensor:
        """Return the pixels of code vectors `(B, D, h, w)`, which need not be entries."""
        hidden = self.widen(self.decoder(self.from_code(code.to(self.from_code.weight.dtype))))
        pixels: Tensor = self.to_pixels(self.head(hidden)).float()
        return pixels

    def _analyse(self, pixels: Tensor) -> Tensor:
        code: Tensor = self.to_code(self.encoder(self.embed(pixels)))
        return code


def build(
    config: ImageVQConfig, tensors: Mapping[str, Tensor], decoding: torch.dtype = torch.float32
) -> ImageVQ:
    """Return the network with these weights, ready for inference.

    The encoder computes in float32, so that tokens are alike on all machines; the decoder in
    `decoding`.
    """
    with torch.device("meta"):
        network = ImageVQ(config)
    network.quantizer = FSQ(config.levels)
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    for part in (network.from_code, network.decoder, network.widen, network.head):
        part.to(decoding)
    network.to_pixels.to(decoding)
    return channels_last(network.eval().requires_grad_(False))


def _blocks(count: int, channels: int, kernel: int, expansion: int) -> nn.Sequential:
    return nn.Sequential(*(ConvNeXtBlock(channels, kernel, expansion) for _ in range(count)))
