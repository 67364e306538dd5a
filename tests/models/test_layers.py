"""Shared layers."""

from __future__ import annotations

import torch

from omnicodec.models.layers import ChannelNorm, ConvNeXtBlock, Pointwise


def test_channel_norm_normalizes_each_position() -> None:
    x = torch.randn(2, 32, 4, 5) * 7 + 3
    y = ChannelNorm(32)(x)
    assert torch.allclose(y.mean(1), torch.zeros(2, 4, 5), atol=1e-5)
    assert torch.allclose(y.var(1, unbiased=False), torch.ones(2, 4, 5), atol=1e-3)


def test_pointwise_is_a_matrix_product() -> None:
    layer = Pointwise(6, 4)
    x = torch.randn(1, 6, 2, 3)
    expected = torch.einsum("oi,bihw->bohw", layer.weight, x)
    assert torch.allclose(layer(x), expected, atol=1e-6)


def test_a_new_block_is_the_identity() -> None:
    x = torch.randn(1, 8, 5, 6)
    assert torch.equal(ConvNeXtBlock(8, 3, 2)(x), x)
