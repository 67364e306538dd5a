"""The network that fills in lost tokens of `image/vq` and `image/vq8`: a masked transformer.

After MaskGIT (Chang et al. 2022, arXiv:2202.04200) and "Extreme Image Compression using
Fine-tuned VQGANs" (Mao et al. 2023, arXiv:2307.08265): trained on tokens of which some are
masked, it says what the masked ones are likely to be. Here a token is the digits of FSQ, so
what it says are six small distributions instead of one over 65,536 entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models.layers import ChannelNorm, ConvNeXtBlock, Pointwise, channels_last


@dataclass(frozen=True, kw_only=True)
class MaskedTokensConfig:
    """Shape of the network; `window` is the side of what one attention sees, and even."""

    levels: tuple[int, ...] = (8, 8, 8, 8, 4, 4)
    channels: int = 144
    blocks: int = 4
    kernel: int = 5
    expansion: int = 3
    heads: int = 6
    window: int = 8

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        known = {field.name for field in fields(cls)}
        mine: dict[str, Any] = {k: v for k, v in values.items() if k in known}
        if "levels" in mine:
            mine["levels"] = tuple(mine["levels"])
        return cls(**mine)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "levels": list(self.levels)}


class MaskedTokens(nn.Module):
    """What each digit of each token is likely to be, given the tokens that are there.

    `indices` are int64 `(B, H, W)` as FSQ numbers its entries, `missing` bool `(B, H, W)`;
    what stands at missing positions is not looked at. Grids may have any size: convolutions
    and windows of attention, moved by half a window from block to block, see no farther than
    they reach.
    """

    def __init__(self, config: MaskedTokensConfig) -> None:
        super().__init__()
        self.config = config
        levels, channels = config.levels, config.channels
        # One row an entry of each digit's distribution, and one for a token that is missing.
        self.embed = Pointwise(sum(levels) + 1, channels)
        layers: list[nn.Module] = []
        for block in range(config.blocks):
            layers.append(ConvNeXtBlock(channels, config.kernel, config.expansion))
            shift = block % 2 * (config.window // 2)
            layers.append(WindowAttention(channels, config.heads, config.window, shift))
        layers.append(ConvNeXtBlock(channels, config.kernel, config.expansion))
        self.layers = nn.Sequential(*layers)
        self.to_logits = nn.Sequential(ChannelNorm(channels), Pointwise(channels, sum(levels)))

    def forward(self, indices: Tensor, missing: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of each digit, `(B, level, H, W)` each."""
        digits = zip(self.digits(indices.clamp(min=0)), self.config.levels, strict=True)
        planes = [F.one_hot(digit, level) for digit, level in digits]
        there = torch.cat(planes, -1) * ~missing[..., None]
        seen = torch.cat([there, missing[..., None]], -1).permute(0, 3, 1, 2)
        hidden = self.layers(self.embed(seen.to(self.embed.weight.dtype)))
        logits: tuple[Tensor, ...] = self.to_logits(hidden).split(self.config.levels, 1)
        return logits

    def digits(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the digits of indices, least significant first, in their shape."""
        found = []
        for level in self.config.levels:
            found.append(indices % level)
            indices = indices // level
        return tuple(found)

    def vectors(self, indices: Tensor) -> Tensor:
        """Return the code vectors of indices, `(B, D, H, W)` in -1 to 1."""
        digits = zip(self.digits(indices), self.config.levels, strict=True)
        return torch.stack([digit * (2 / (level - 1)) - 1 for digit, level in digits], 1)

    def expected(self, logits: tuple[Tensor, ...]) -> Tensor:
        """Return the mean of the code vectors `(B, D, H, W)` in -1 to 1."""
        means = []
        for part, level in zip(logits, self.config.levels, strict=True):
            values = torch.linspace(-1, 1, level, device=part.device).view(1, -1, 1, 1)
            means.append((part.float().softmax(1) * values).sum(1))
        return torch.stack(means, 1)

    def likely(self, logits: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Return the likeliest index of each token and the log of its probability, `(B, H, W)`."""
        sureness = torch.zeros_like(logits[0][:, 0], dtype=torch.float32)
        index, place = torch.zeros_like(sureness, dtype=torch.int64), 1
        for part, level in zip(logits, self.config.levels, strict=True):
            best, digit = part.float().log_softmax(1).max(1)
            index = index + digit * place
            sureness = sureness + best
            place *= level
        return index, sureness


class WindowAttention(nn.Module):
    """Self-attention within square windows, around a residual, `(B, C, H, W)`.

    After Swin (Liu et al. 2021, arXiv:2103.14030): a bias for each offset within a window;
    windows begin `shift` positions before the corner. What pads the last ones is not attended
    to.
    """

    offsets: Tensor

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.norm = ChannelNorm(channels)
        self.expand = Pointwise(channels, 3 * channels)
        self.project = Pointwise(channels, channels, zero=True)
        self.bias = nn.Parameter(torch.zeros(heads, (2 * window - 1) ** 2))
        axis = torch.arange(window)
        y, x = (grid.reshape(-1) for grid in torch.meshgrid(axis, axis, indexing="ij"))
        down, right = (a[:, None] - a[None] + window - 1 for a in (y, x))
        self.register_buffer("offsets", down * (2 * window - 1) + right, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        s, w = self.shift, self.window
        pads = (s, -(width + s) % w, s, -(height + s) % w)
        inside = F.pad(x.new_ones(1, 1, height, width), pads)
        seen = self._windows(inside) > 0
        bias = self.bias[:, self.offsets].to(x.dtype)
        mask = torch.where(seen[:, None, None, :, 0], bias, float("-inf"))
        mixed = self.expand(self.norm(x))
        windows = self._windows(F.pad(mixed, pads))  # (B * windows, w * w, 3 * C)
        count = len(windows) // len(mask)
        parts = windows.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if count > 1:
            mask = mask.repeat(count, 1, 1, 1)
        found = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=mask)
        down, across = (height + pads[2] + pads[3]) // w, (width + pads[0] + pads[1]) // w
        back = found.permute(0, 2, 1, 3).reshape(-1, down, across, w, w, x.shape[1])
        whole = back.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)
        y: Tensor = x + self.project(whole[:, :, s : s + height, s : s + width])
        return y

    def _windows(self, x: Tensor) -> Tensor:
        """Return `(B, C, H, W)` in windows: `(B * windows, w * w, C)`."""
        w = self.window
        cut = x.unflatten(3, (-1, w)).unflatten(2, (-1, w))  # (B, C, down, w, across, w)
        windows: Tensor = cut.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)
        return windows


def build(config: MaskedTokensConfig, tensors: Mapping[str, Tensor]) -> MaskedTokens:
    """Return the network with these weights, ready for inference in float32."""
    network = MaskedTokens(config)
    network.load_state_dict({k: v.float() for k, v in tensors.items()})
    return channels_last(network.eval().requires_grad_(False))
