"""Encoder and decoder: what goes in and comes out."""

from __future__ import annotations

import pytest
import torch

from omnicodec.models.inr.hnerv.network import Decoder, Encoder
from omnicodec.models.inr.hnerv.shape import shape_for


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 47), (100, 60)])
def test_pixels_to_embeddings_to_pixels(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    shape = shape_for(3, *size, 3000)
    pixels = torch.rand(2, 3, *shape.padded)
    with torch.inference_mode():
        embeddings = Encoder(shape)(pixels)
        drawn = Decoder(shape)(embeddings)
    assert embeddings.shape == (2, *shape.embedding)
    assert drawn.shape == pixels.shape
    assert drawn.min() >= 0
    assert drawn.max() <= 1


def test_a_decoder_sees_its_embeddings() -> None:
    torch.manual_seed(0)
    shape = shape_for(2, 64, 64, 5000)
    decoder = Decoder(shape)
    embeddings = torch.randn(1, *shape.embedding, requires_grad=True)
    decoder(embeddings).square().sum().backward()
    assert (embeddings.grad != 0).all()
    assert all((p.grad != 0).any() for p in decoder.parameters())
