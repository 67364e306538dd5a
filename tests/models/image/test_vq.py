"""The network of `image/vq` at toy size."""

from __future__ import annotations

import torch

from omnicodec.models.image.vq import ImageVQ, ImageVQConfig, build

SMALL = ImageVQConfig(
    levels=(4, 3), encoder_channels=16, encoder_blocks=1, decoder_channels=16, decoder_blocks=1,
    head_channels=8, head_blocks=1, expansion=2,
)  # fmt: skip


def test_config_round_trip() -> None:
    assert ImageVQConfig.from_dict(SMALL.to_dict()) == SMALL
    assert ImageVQConfig.from_dict({**SMALL.to_dict(), "version": 7}) == SMALL


def test_shapes_and_build() -> None:
    torch.manual_seed(0)
    network = ImageVQ(SMALL).eval()
    pixels = torch.rand(2, 3, 32, 48) * 2 - 1
    built = build(SMALL, {k: v.half() for k, v in network.state_dict().items()})
    with torch.no_grad():
        indices = network.encode(pixels)
        assert indices.shape == (2, 2, 3)
        assert indices.max() < 12
        drawn = network.decode(indices)
        assert drawn.shape == pixels.shape
        assert torch.allclose(network(pixels), drawn, atol=1e-6)
        assert torch.allclose(built.decode(indices), drawn, atol=0.02)
    assert all(p.dtype == torch.float32 for p in built.parameters())


def test_positions_are_equal() -> None:
    """Away from the borders, moving the picture by one patch moves the indices by one."""
    torch.manual_seed(0)
    network = build(SMALL, ImageVQ(SMALL).state_dict())
    pixels = torch.rand(1, 3, 16 * 12, 16 * 12) * 2 - 1
    moved = torch.roll(pixels, (16, 16), (2, 3))
    a, b = network.encode(pixels), network.encode(moved)
    assert torch.equal(a[:, 4:-5, 4:-5], b[:, 5:-4, 5:-4])
