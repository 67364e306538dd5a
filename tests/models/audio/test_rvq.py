"""The network of `audio/rvq` at toy size."""

from __future__ import annotations

import torch

from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig, CausalBlock, build


def test_config_round_trip(network: AudioRVQ) -> None:
    config = network.config
    assert AudioRVQConfig.from_dict(config.to_dict()) == config
    assert AudioRVQConfig.from_dict({**config.to_dict(), "version": 7}) == config


def test_shapes_and_build(network: AudioRVQ) -> None:
    samples = torch.randn(2, 10 * network.config.hop)
    indices = network.encode(samples, 2)
    assert indices.shape == (3, 2, 11)
    assert indices[:2].any()
    assert not indices[2].any()
    drawn = network.decode(indices)
    assert drawn.shape == samples.shape
    built = build(network.config, {k: v.half() for k, v in network.state_dict().items()})
    assert torch.allclose(built.decode(indices), drawn, atol=0.02 * float(drawn.abs().max()))
    assert all(p.dtype == torch.float32 for p in built.parameters())


def test_the_past_is_all_that_a_frame_hears(network: AudioRVQ) -> None:
    """A change of one sample changes no index before the look-ahead, no sample before its index."""
    hop = network.config.hop
    samples = torch.randn(1, 12 * hop)
    changed = samples.clone()
    changed[0, 6 * hop] += 5.0
    a, b = network.encode(samples, 3)[:, 0], network.encode(changed, 3)[:, 0]
    first = int((a != b).any(0).nonzero()[0])
    # Frame n ends at (n + 1) * hop, and looks `lookahead` further.
    assert first == 6 - network.config.lookahead
    late = a.clone()
    late[0, 8] = (late[0, 8] + 1) % network.config.entries
    difference = (network.decode(a[:, None]) - network.decode(late[:, None]))[0].abs()
    assert difference[: 7 * hop].max() == 0
    assert difference[7 * hop :].max() > 0


def test_it_begins_with_the_lowest_bins() -> None:
    torch.manual_seed(0)
    network = AudioRVQ(AudioRVQConfig(rate=2400, hop=24, dims=16, waves=16, books=1, entries=4))
    time = torch.arange(240) / 2400
    low = 0.5 * torch.sin(2 * torch.pi * 200 * time)[None]
    with torch.no_grad():
        error = (network.render(network.analyse(low)) - low).square().mean()
    assert error < 0.25 * low.square().mean()


def test_a_block_begins_as_nothing() -> None:
    x = torch.randn(2, 9, 5)
    assert torch.equal(CausalBlock(5, 4, 2)(x), x[:, 3:])
