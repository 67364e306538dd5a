"""A network of `audio/rvq` at toy size, with weights that make every part matter."""

from __future__ import annotations

import pytest
import torch

from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig, build

SMALL = AudioRVQConfig(
    rate=2400, hop=24, encoder_channels=12, encoder_blocks=2, decoder_channels=12,
    decoder_blocks=2, kernel=3, expansion=2, dims=8, waves=6, books=3, entries=16,
)  # fmt: skip


@pytest.fixture(scope="session")
def network() -> AudioRVQ:
    torch.manual_seed(0)
    network = AudioRVQ(SMALL)
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.1
    network.quantizer.codebooks[:, 1:] = torch.randn(3, 15, 8)
    return build(SMALL, network.state_dict())
