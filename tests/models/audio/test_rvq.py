"""The network of `audio/rvq` at toy size."""

from __future__ import annotations

import torch

from omnicodec.models.audio.rvq import AudioRVQ, AudioRVQConfig, CausalBlock, build
from omnicodec.models.audio.spectrum import split


def test_config_round_trip(network: AudioRVQ) -> None:
    config = network.config
    assert AudioRVQConfig.from_dict(config.to_dict()) == config
    assert AudioRVQConfig.from_dict({**config.to_dict(), "version": 7}) == config


def test_shapes_and_build(network: AudioRVQ) -> None:
    samples = torch.randn(2, 10 * network.config.hop)
    indices = network.encode(samples, 2)
    assert indices.shape == (4, 2, 11)
    assert indices[:2].any()
    assert not indices[2:].any()
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


def test_it_begins_as_a_transform_codec() -> None:
    """Untrained and unquantized, what lies within the quantized bins comes back."""
    torch.manual_seed(0)
    config = AudioRVQConfig(rate=2400, hop=24, bands=5, dims=16, books=2, entries=4)
    network = AudioRVQ(config)
    samples = 0.1 * torch.randn(1, 2400)
    levels = network.levels(samples)
    network.quantizer.levels[:] = levels.mean((0, 1))
    with torch.no_grad():
        first, shapes = network.analyse(samples)
        assert first.shape == (1, 101)
        assert (levels.shape, shapes.shape) == ((1, 101, network.envelope.bands), (1, 101, 16))
        drawn = network.render(network.quantizer.levels[first], shapes)
    wanted, found = (network.mdct(split(x, 2, 24)) for x in (samples, drawn))
    low = (found - wanted)[..., :16].square().mean() / wanted.square().mean()
    assert low < 1e-4
    # Above lies a replica, as loud.
    assert 0.5 < found[..., 16:].square().mean() / wanted[..., 16:].square().mean() < 2


def test_shapes_know_no_level(network: AudioRVQ) -> None:
    """Twice as loud, with entries twice as loud, is the same shape."""
    samples = torch.randn(1, 12 * network.config.hop) * 0.1
    louder = build(network.config, network.state_dict())
    louder.quantizer.levels += torch.log(torch.tensor(2.0))
    # The networks do see levels: without them here.
    for each in (network, louder):
        each.encoder.embed.weight.data.zero_()
    first, shapes = network.analyse(samples)
    first_2, shapes_2 = louder.analyse(samples * 2)
    found_2 = louder.quantizer.levels[first_2]
    found = network.quantizer.levels[first]
    assert torch.allclose(found_2 - found, torch.log(torch.tensor(2.0)).expand_as(found), atol=1e-4)
    assert torch.allclose(shapes, shapes_2, atol=1e-2)


def test_wild_shapes_stay_finite(network: AudioRVQ) -> None:
    levels = torch.full((1, 3, network.envelope.bands), -9.0)
    drawn = network.render(levels, torch.full((1, 3, network.config.dims), 1e6))
    assert torch.isfinite(drawn).all()


def test_silence_has_gradients() -> None:
    network = AudioRVQ(AudioRVQConfig(rate=2400, hop=24, bands=5, dims=16, books=2, entries=4))
    first, shapes = network.analyse(torch.zeros(1, 240))
    network.render(network.quantizer.levels[first], shapes).square().sum().backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() for g in gradients)


def test_a_block_begins_as_nothing() -> None:
    x = torch.randn(2, 9, 5)
    assert torch.equal(CausalBlock(5, 4, 2)(x), x[:, 3:])
