"""Networks of Cosmos's discrete tokenizers (NVIDIA 2025, arXiv:2501.03575), of diffusers' parts.

Its video tokenizers are the encoder and decoder that diffusers has for the continuous ones. Those
of pictures are its usual ones of two dimensions, behind two steps of a Haar wavelet. Both have
finite scalar quantization in the middle.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_cosmos import (
    CosmosDecoder3d,
    CosmosEncoder3d,
)
from diffusers.models.autoencoders.vae import Decoder, Encoder
from diffusers.models.unets.unet_2d_blocks import DownEncoderBlock2D
from torch import Tensor, nn

from omnicodec.codecs.hub.cosmos_fsq import CosmosConfig
from omnicodec.models.quantizers import FSQ


class Cosmos(nn.Module):
    """A discrete tokenizer: `codes` of pixels -1..1, and `pixels` of codes.

    Pixels are `(B, 3, H, W)` or `(B, 3, T, H, W)`, codes int64 `(B, h, w)` or `(B, t, h, w)`.
    """

    def __init__(self, config: CosmosConfig) -> None:
        super().__init__()
        self.config = config
        self.levels = CosmosFSQ(config.levels)
        self.encoder, self.decoder = _video(config) if config.temporal else _picture(config)
        conv: type[nn.Module] = nn.Conv3d if config.temporal else nn.Conv2d
        self.quant_conv = conv(config.latent_channels, len(config.levels), 1)
        self.post_quant_conv = conv(len(config.levels), config.latent_channels, 1)

    def codes(self, pixels: Tensor) -> Tensor:
        x = pixels if self.config.temporal else to_haar(pixels, self.config.patch)
        latents: Tensor = self.quant_conv(self.encoder(x))
        # What is before the last axis is one to the quantizer, which is for pictures.
        found = self.levels.indices(latents.flatten(2, -2))
        return found.reshape(len(latents), *latents.shape[2:])

    def pixels(self, codes: Tensor) -> Tensor:
        vectors = self.levels.vectors(codes.flatten(1, -2))
        latents = vectors.reshape(*vectors.shape[:2], *codes.shape[1:])
        found: Tensor = self.decoder(self.post_quant_conv(latents))
        return found if self.config.temporal else from_haar(found, self.config.patch)


class CosmosFSQ(FSQ):
    """FSQ with the bound of its paper, which Cosmos has; that of this project is another.

    An even number of levels lies around -1/2: 8 levels are -1 to 3/4, in steps of 1/4.
    """

    def _bound(self, z: Tensor) -> Tensor:
        half = (self.levels - 1) * (1 + 1e-3) / 2
        offset = (self.levels % 2 == 0) * 0.5
        bounded = torch.tanh(z.float() + torch.atanh(offset / half)) * half - offset
        return bounded.round() + self.levels // 2

    def _scale(self, digits: Tensor) -> Tensor:
        half = self.levels // 2
        return (digits - half) / half


def to_haar(x: Tensor, patch: int) -> Tensor:
    """Return `(B, C, H, W)` as `(B, C * patch**2, H / patch, W / patch)`.

    Each step makes of each square of four values their mean and three differences, low to high
    frequencies along the height within those along the width.
    """
    while patch > 1:
        a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
        c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
        x = torch.cat([a + b + c + d, a + b - c - d, a - b + c - d, a - b - c + d], 1) / 4
        patch //= 2
    return x


def from_haar(x: Tensor, patch: int) -> Tensor:
    """Return what `to_haar` was given."""
    while patch > 1:
        mean, rows, columns, both = x.chunk(4, 1)
        above, below = mean + rows, mean - rows
        left, right = columns + both, columns - both
        upper = torch.stack([above + left, above - left], -1).flatten(-2)
        lower = torch.stack([below + right, below - right], -1).flatten(-2)
        x = torch.stack([upper, lower], -2).flatten(-3, -2)
        patch //= 2
    return x


def _video(config: CosmosConfig) -> tuple[nn.Module, nn.Module]:
    shared: dict[str, Any] = {
        "num_resnet_blocks": config.layers,
        "attention_resolutions": (),
        "patch_size": config.patch,
        "spatial_compression_ratio": config.spatial,
        "temporal_compression_ratio": config.temporal,
    }
    latents, channels = config.latent_channels, config.block_channels
    encoder = CosmosEncoder3d(
        out_channels=latents, block_out_channels=(config.channels, *channels), **shared
    )
    decoder = CosmosDecoder3d(
        in_channels=latents, block_out_channels=(*channels, channels[-1]), **shared
    )
    return encoder, decoder


def _picture(config: CosmosConfig) -> tuple[nn.Module, nn.Module]:
    channels, patched = config.block_channels, 3 * config.patch**2
    count = len(channels)
    encoder = Encoder(
        in_channels=patched,
        out_channels=config.latent_channels,
        down_block_types=("DownEncoderBlock2D",) * count,
        block_out_channels=channels,
        layers_per_block=config.layers,
        double_z=False,
    )
    # diffusers' begins with the channels of its first level, Cosmos with fewer.
    encoder.conv_in = nn.Conv2d(patched, config.channels, 3, padding=1)
    encoder.down_blocks[0] = DownEncoderBlock2D(
        config.channels, channels[0], num_layers=config.layers, downsample_padding=0
    )
    decoder = Decoder(
        in_channels=config.latent_channels,
        out_channels=patched,
        up_block_types=("UpDecoderBlock2D",) * count,
        block_out_channels=channels,
        layers_per_block=config.layers,
    )
    _keep(encoder.down_blocks, "downsamplers", config.halvings)
    _keep(decoder.up_blocks, "upsamplers", config.halvings)
    return encoder, decoder


def _keep(blocks: nn.ModuleList, what: str, count: int) -> None:
    """Leave out what changes the size behind the first `count` levels."""
    for block in blocks[count:]:
        setattr(block, what, None)
