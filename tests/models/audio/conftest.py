"""A network of `audio/rvq` at toy size, with weights that make every part matter."""

from __future__ import annotations

import pytest
import torch

from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig, build

SMALL = AudioRVQConfig(
    rate=2400, hop=24, encoder_channels=12, encoder_blocks=2, decoder_channels=12,
    decoder_blocks=2, kernel=3, expansion=2, bands=5, dims=14, books=4, entries=16,
)  # fmt: skip


@pytest.fixture(scope="session", params=[torch.float32, torch.bfloat16], ids=str)
def network(request: pytest.FixtureRequest) -> AudioRVQ:
    torch.manual_seed(0)
    network = AudioRVQ(SMALL)
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    quantizer = network.quantizer
    quantizer.levels[:] = torch.randn(quantizer.levels.shape) - 2
    quantizer.shapes.codebooks[:, 1:] = torch.randn(3, 15, 14)
    return build(SMALL, network.state_dict(), request.param)
