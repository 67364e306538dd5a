"""Fitting: the cost falls, checkpoints go on as if nothing had happened, updates pay."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnicodec.models.inr import rounding
from omnicodec.models.inr.fit import PictureFit
from omnicodec.models.inr.image import ImageInr, ImageInrConfig, rate_of, weight_of
from omnicodec.models.inr.pyramid import shapes
from omnicodec.models.inr.updates import changed, fill, flat, groups, quantized
from omnicodec.models.quantizers import soft_round


@pytest.fixture(scope="module")
def network() -> ImageInr:
    torch.manual_seed(0)
    network = ImageInr(ImageInrConfig()).eval().requires_grad_(False)
    for arms in network.arms:
        arms.last_bias[:, 1] = 10.0
    network.synthesis.colours.bias += 0.1  # which a fit can mend
    return network


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    y, x = torch.meshgrid(torch.linspace(0, 3, 64), torch.linspace(0, 4, 128), indexing="ij")
    return torch.stack([torch.sin(x * y), torch.cos(x + y), torch.sin(3 * x)])[None] * 0.4 + 0.5


def test_the_cost_falls_and_what_is_kept_is_what_was_seen(network, pixels) -> None:
    torch.manual_seed(1)
    fit = PictureFit(network, pixels, 60, 120, 40, 60)
    first = fit.cost
    while fit.done < fit.steps:
        fit.step()
    fit.look()
    assert fit.cost < 0.8 * first
    preview = fit.preview()
    assert preview.shape == (1, 3, 60, 120)
    error = (preview - pixels[:, :, :60, :120]).square().mean().item()
    assert abs(-10 * np.log10(error) - fit.psnr) < 0.3
    fitted = fit.finish()
    assert [y.shape for y in fitted.scales] == shapes(64, 128)
    assert any(update is not None for update in fitted.updates)
    assert fitted.psnr > 15


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(network, pixels) -> None:
    def run(fit: PictureFit, until: int) -> None:
        while fit.done < until:
            fit.step()
        fit.look()

    one = PictureFit(network, pixels, 64, 128, 40, 12)
    run(one, 5)
    state = one.state()
    run(one, 12)
    other = PictureFit(network, pixels, 64, 128, 40, 12)
    other.restore(state)
    assert other.done == 5
    run(other, 12)
    assert (one.cost, one.bits, one.psnr) == (other.cost, other.bits, other.psnr)
    for a, b in zip(one.finish().scales, other.finish().scales, strict=True):
        np.testing.assert_array_equal(a, b)


def test_weights_begin_with_those_of_a_picture_that_is_alike(network, pixels) -> None:
    def fitted(begin) -> PictureFit:
        fit = PictureFit(network, pixels, 64, 128, 40, 10, begin=begin)
        while fit.done < fit.steps:
            fit.step()
        fit.look()
        return fit

    first = PictureFit(network, pixels, 64, 128, 40, 60)
    while first.done < first.steps:
        first.step()
    first.look()
    updates = first.finish().updates
    assert any(updates)
    assert fitted(updates).cost < fitted(()).cost
    for update in (u for u in fitted(updates).finish().updates if u):
        assert update.values.any(), "they are what differs from the shared ones"


def test_without_steps_it_is_the_analysis(network, pixels) -> None:
    fitted = PictureFit(network, pixels, 64, 128, 40, 0).finish()
    rate = rate_of(weight_of(40))
    for found, y in zip(fitted.scales, network.analyse(pixels, rate), strict=True):
        np.testing.assert_array_equal(found, y[0].round().clamp(-1023, 1023).numpy())
    assert fitted.updates == [None] * 4


def test_updates_are_integers_of_a_class(network) -> None:
    torch.manual_seed(2)
    group = groups(network)[0]
    base = flat(group)
    change = torch.randn_like(base) * 0.05
    update = quantized(change, 7)
    values = changed(base, update)
    assert (values - base - change).abs().max() <= 0.5 / 128 + 1e-6
    fine, coarse = quantized(change, 9), quantized(change, 5)
    assert fine.bits > update.bits > coarse.bits
    assert abs(update.bits / change.numel() - np.log2(0.05 * 128 * np.sqrt(2 * np.pi * np.e))) < 0.3
    fill(group, values)
    torch.testing.assert_close(flat(group), values)
    fill(group, base)


def test_rounding_from_soft_to_hard() -> None:
    x = torch.linspace(-3, 3, 1001)
    assert (soft_round(x, 5.0) - x).abs().max() < 0.02
    away = (x - x.floor() - 0.5).abs() > 0.1
    assert (soft_round(x, 0.03) - x.round())[away].abs().max() < 0.01
    noise = rounding.noise(torch.zeros(100_000), 1.0)
    assert noise.abs().max() <= 0.5
    assert abs(noise.std().item() - 12**-0.5) < 0.01
    assert rounding.noise(torch.zeros(100_000), 2.0).std() < noise.std()
    leaf = torch.tensor([0.2, 0.7], requires_grad=True)
    hard = rounding.straight_through(leaf, 0.2)
    assert hard.tolist() == [0.0, 1.0]
    hard.sum().backward()
    assert (leaf.grad > 0).all()
