"""The search for better tokens: never worse, and the same wherever it is run."""

from __future__ import annotations

import torch

from omnicodec.models.image.vq import ImageVQ, ImageVQConfig
from omnicodec.models.image.vq_refine import refined

SMALL = ImageVQConfig(
    patch=8, levels=(5, 3), encoder_channels=16, encoder_blocks=1, decoder_channels=16,
    decoder_blocks=1, head_channels=8, head_blocks=1,
)  # fmt: skip


def network() -> ImageVQ:
    torch.manual_seed(3)
    return ImageVQ(SMALL).eval().requires_grad_(False)


def error(model: ImageVQ, indices: torch.Tensor, pixels: torch.Tensor) -> float:
    return (model.decode(indices) - pixels).square().mean().item()


def test_tokens_become_better() -> None:
    model = network()
    wanted = torch.randint(15, (1, 4, 6))
    pixels = model.decode(wanted)
    first = torch.randint(15, (1, 4, 6))
    found = refined(model, pixels, first, 40)
    assert found.shape == first.shape
    assert found.dtype == torch.int64
    assert found.min() >= 0
    assert found.max() < 15
    assert error(model, found, pixels) < 0.5 * error(model, first, pixels)
    torch.testing.assert_close(refined(model, pixels, first, 40), found)


def test_tokens_never_become_worse() -> None:
    model = network()
    best = torch.randint(15, (1, 3, 3))
    pixels = model.decode(best)
    torch.testing.assert_close(refined(model, pixels, best, 12), best)
    torch.testing.assert_close(refined(model, pixels, best, 0), best)
