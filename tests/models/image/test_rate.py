"""The networks of `image/rate`: what they begin as, and what their quality changes."""

from __future__ import annotations

import math

import pytest
import torch

from omnicodec.models.image.context import GROUPS, ContextModel, bits
from omnicodec.models.image.rate import (
    ANCHORS,
    ImageRate,
    RateConfig,
    anchor_weights,
    companded,
    mirrored,
    weight_of,
)
from omnicodec.models.image.rate_refine import refined

SMALL = RateConfig(
    channels=256,
    stem_channels=8,
    encoder_channels=16,
    encoder_blocks=1,
    decoder_channels=16,
    decoder_blocks=1,
    head_channels=8,
    head_blocks=1,
)


def started(config: RateConfig) -> ImageRate:
    """Return networks that begin with the slowest waves of all colours."""
    network = ImageRate(config)
    row, column = torch.arange(768) // 16 % 16, torch.arange(768) % 16
    slowest = (row + column).argsort(stable=True)[: config.channels]
    network.start(slowest, torch.ones(config.channels))
    network.analysis.dead.data.fill_(-30)  # no dead zone
    return network.eval()


def picture(height: int, width: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(1, 3, height, width) * 2 - 1


@torch.no_grad()
@pytest.mark.parametrize("size", [(16, 16), (48, 32), (64, 80)])
def test_it_begins_as_a_transform_that_gives_all_back(size: tuple[int, int]) -> None:
    """Also at the borders, where the picture goes on mirrored."""
    network = started(RateConfig(**{**SMALL.to_dict(), "channels": 768}))
    pixels, quality = picture(*size), torch.tensor([70.0])
    latents = network.analyse(pixels, quality)
    assert latents.shape == (1, 768, size[0] // 16, size[1] // 16)
    torch.testing.assert_close(network.render(latents, quality), pixels, atol=2e-5, rtol=0)


@torch.no_grad()
def test_latents_are_finer_at_higher_qualities() -> None:
    network = started(SMALL)
    pixels = picture(32, 32)
    sizes = [
        float(network.analyse(pixels, torch.tensor([quality])).abs().mean())
        for quality in (0.0, 40.0, 41.0, 100.0)
    ]
    assert sizes == sorted(sizes)
    ratio = SMALL.coarsest / SMALL.finest
    assert sizes[-1] / sizes[0] == pytest.approx(ratio, rel=1e-3)


def test_weights_of_anchors_add_up_and_bend_at_anchors_only() -> None:
    quality = torch.arange(101.0)
    weights = anchor_weights(quality)
    assert weights.shape == (101, ANCHORS)
    torch.testing.assert_close(weights.sum(1), torch.ones(101))
    torch.testing.assert_close(weights[::25], torch.eye(ANCHORS))
    assert float(weights[30, 1]) == pytest.approx(0.8)


def test_the_weight_of_an_error_is_that_of_a_uniform_quantizer() -> None:
    """Where a coefficient of variance v costs log2(v / d) / 2 bits and d of error, 3 a pixel."""
    quality = torch.tensor([50.0])
    step = float(SMALL.step(quality))
    error = step**2 / 12
    slope = 1 / (2 * math.log(2) * error)
    assert float(weight_of(quality, SMALL)) == pytest.approx(3 * slope, rel=1e-5)


def test_companding_is_odd_and_bounded() -> None:
    y = torch.tensor([-1e6, -3.0, -1.0, 0.0, 1.0, 3.0, 1e6])
    expected = torch.tensor([-8.0, -2.0, -1.0, 0.0, 1.0, 2.0, 8.0])
    torch.testing.assert_close(companded(y), expected)


def test_mirroring_repeats_the_border() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    wide = mirrored(x, 2)[0, 0]
    assert wide[2].tolist() == [1, 0, 0, 1, 2, 3, 3, 2]
    assert wide[:, 2].tolist() == [4, 0, 0, 4, 8, 12, 12, 8]


@torch.no_grad()
def test_contexts_are_what_was_coded_before() -> None:
    """Changing a latent changes nothing that is coded before it, nor its own distribution."""
    torch.manual_seed(0)
    model = ContextModel().eval()
    for parameter in model.parameters():  # no layer is zero
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    height, width = 5, 6
    y = torch.randint(-3, 4, (1, GROUPS[-1], height, width)).float()
    quality = torch.tensor([35.0])
    order = coding_order(height, width)
    before = torch.cat(model(y, quality), 0)
    for channel, row, column in (
        (0, 2, 3),
        (5, 4, 5),
        (6, 2, 2),
        (31, 2, 3),
        (95, 0, 1),
        (255, 3, 3),
    ):
        changed = y.clone()
        changed[0, channel, row, column] += 2
        after = torch.cat(model(changed, quality), 0)
        moved = (after != before).any(0)
        late = order > order[channel, row, column]
        assert not (moved & ~late).any()
        if late.any():
            assert (moved & late).any(), "the context is not looked at"


def coding_order(height: int, width: int) -> torch.Tensor:
    """Return when each latent is coded: the lowest in raster order, groups in two halves."""
    raster = torch.arange(height * width).view(height, width)
    odd = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    parts = [raster.expand(GROUPS[0], -1, -1)]
    for number in range(1, len(GROUPS)):
        base = height * width + 2 * number
        parts.append((base + odd).expand(GROUPS[number] - GROUPS[number - 1], -1, -1))
    return torch.cat(parts)


def test_bits_are_those_of_a_distribution() -> None:
    mean, scale = torch.tensor([0.3]), torch.tensor([1.7])
    y = torch.arange(-200.0, 200.0)
    shares = 2 ** -bits(y[abs(y) < 20], mean, scale)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-3)
    assert float(bits(torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([0.02]))) < 1e-4


def test_refinement_lowers_the_cost() -> None:
    network = started(SMALL).requires_grad_(False)
    quality = torch.tensor([20.0])
    pixels = torch.nn.functional.interpolate(picture(12, 12), (48, 48), mode="bilinear")

    def estimate(y: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.zeros_like(y), torch.full_like(y, 1.0)

    def cost(y: torch.Tensor) -> float:
        drawn = network.render(y.round(), quality)
        error = 127.5**2 * float((drawn - pixels).square().mean())
        rate = float(bits(y.round(), *estimate(y, quality)).sum()) / 48**2
        return float(weight_of(quality, SMALL)) * error + rate

    start = network.analyse(pixels, quality)
    better = refined(network, estimate, pixels, start, quality, 20)
    assert cost(better) < cost(start)
    unmoved = refined(network, estimate, pixels, start, quality, 0)
    torch.testing.assert_close(unmoved, start.round())
