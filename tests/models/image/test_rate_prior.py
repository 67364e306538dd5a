"""The networks of the prior of `image/rate`: twins, integers, and the float model before them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from omnicodec.models.exact import BACKENDS, use_backend
from omnicodec.models.image.context import ContextModel
from omnicodec.models.image.rate_contexts import (
    FIRST,
    FIRST_INPUTS,
    compand_all,
    first_inputs,
    gather,
    quality_inputs,
)
from omnicodec.models.image.rate_networks import GroupNetwork, first_network, run_first
from omnicodec.models.image.rate_prior import (
    LEAST,
    MOST,
    RatePriorConfig,
    RatePriorNet,
    logistic_bits,
    scale_of,
)

CONFIG = RatePriorConfig(groups=(6, 10, 17), hidden=(8, 12, 10), expanded=(9, 14, 11))


def make() -> tuple[RatePriorNet, dict[str, np.ndarray]]:
    torch.manual_seed(5)
    network = RatePriorNet(CONFIG).double().eval()
    with torch.no_grad():  # so that activations saturate and results vary
        for name, parameter in network.named_parameters():
            parameter *= 3
            if name.endswith("bias"):
                parameter += torch.randn_like(parameter)
    return network, {name: tensor.numpy() for name, tensor in network.tensors().items()}


NETWORK, TENSORS = make()
SPANS = list(CONFIG.spans())


def draw(group: int, rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-127, 128, (rows, CONFIG.inputs(group))).astype(np.int8)


def integers(group: int) -> GroupNetwork:
    start, stop = SPANS[group]
    return GroupNetwork(TENSORS, group, CONFIG.inputs(group), 2 * (stop - start))


@pytest.mark.parametrize("group", range(3))
def test_integers_are_those_of_training(group: int) -> None:
    x = draw(group, 200)
    with torch.no_grad():
        results = torch.cat(NETWORK.group(group)(torch.from_numpy(x).double() / 16), 1)
    found = integers(group)(x)
    assert np.array_equal((results * 64).numpy(), found)
    assert len(np.unique(found)) > 100


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_and_batches_agree(backend) -> None:
    for group in range(3):
        x, network = draw(group, 70), integers(group)
        expected = network(x)
        with use_backend(backend):
            assert np.array_equal(network(x), expected)
            assert np.array_equal(
                np.concatenate([network(x[k : k + 1]) for k in range(70)]), expected
            )


def test_the_first_network_is_the_same_by_itself() -> None:
    first = first_network(TENSORS, FIRST_INPUTS, 2 * FIRST)
    x = draw(0, 50)
    hidden, inner, out = (np.zeros(n, np.int32) for n in (8, 9, 2 * FIRST))
    for row, expected in zip(x, integers(0)(x), strict=True):
        run_first(first, row.astype(np.int32), hidden, inner, out)
        assert np.array_equal(out, expected)


def test_it_begins_as_the_float_model() -> None:
    """The same latents give the same means and scales, but for what 8 bits round."""
    torch.manual_seed(1)
    context, network = ContextModel().eval(), RatePriorNet(RatePriorConfig()).eval()
    with torch.no_grad():
        context.lowest.linear.copy_(torch.randn_like(context.lowest.linear) * 0.2)
        for group in context.groups:
            group.project.weight.copy_(torch.randn_like(group.project.weight) * 0.03)
    network.load_context(context.state_dict())
    rng = np.random.default_rng(2)
    height, width, channels = 7, 6, network.config.channels
    spread = np.geomspace(60, 0.4, channels)
    y = np.round(rng.laplace(0, spread, (height * width, channels))).astype(np.int16)
    picture = torch.from_numpy(y.T.reshape(1, channels, height, width).astype(np.float32))
    with torch.no_grad():
        mean, scale = (t[0].flatten(1).t() for t in context(picture, torch.tensor([40.0])))
    e = np.empty(y.shape, np.int8)
    compand_all(y, e)
    hint = quality_inputs(40)
    positions = np.arange(len(y))
    linear = context.lowest.linear.detach().double().t().numpy() * 4096
    base, first = np.empty((len(y), FIRST), np.int64), np.empty((len(y), FIRST_INPUTS), np.int32)
    first_inputs(y, 0, width, np.round(linear).astype(np.int32), hint, base, first)
    for g, (start, stop) in enumerate(network.config.spans()):
        if g == 0:
            x = first
        else:
            x = np.empty((len(y), network.config.inputs(g)), np.int8)
            gather(y, e, positions, 0, width, start, stop, hint, x)
        with torch.no_grad():
            offset, classes = network.group(g)(torch.from_numpy(x).float() / 16)
        found = offset + torch.from_numpy(base / 8).float() if g == 0 else offset
        assert (found - mean[:, start:stop]).abs().mean() < 0.05 * mean[:, start:stop].std()
        logs = (scale_of(classes) / scale[:, start:stop].clamp(LEAST, MOST)).log()
        assert logs.abs().mean() < 0.06
        assert scale[:, start:stop].log().std() > 3 * logs.abs().mean()


def test_bits_are_those_of_rounded_logistic_variables() -> None:
    mean, scale = torch.tensor([0.3, -5.0, 0.0, 40.0]), torch.tensor([0.5, 3.0, 0.06, 0.1])
    y = torch.arange(-3000, 3001).double()
    bits = logistic_bits(y[:, None], mean.double(), scale.double())
    assert torch.allclose((2**-bits).sum(0), torch.ones(4).double(), atol=1e-9)
    away = (y[:, None] - mean).abs()
    assert (bits.argmin(0) == away.argmin(0)).all()
    assert torch.isfinite(bits).all()


def test_classes_are_logarithms_of_scales() -> None:
    scales = scale_of(torch.tensor([-3.0, 0.0, 39.0, 50.0], dtype=torch.float64))
    assert torch.allclose(scales, torch.tensor([LEAST, LEAST, MOST, MOST], dtype=torch.float64))
    steps = scale_of(torch.arange(40, dtype=torch.float64)).log().diff()
    assert torch.allclose(steps, torch.full((39,), math.log(MOST / LEAST) / 39).double())


@pytest.mark.parametrize("groups", [(6,), (5, 10), (6, 6), (6, 20, 10)])
def test_groups_grow(groups: tuple[int, ...]) -> None:
    sizes = (8,) * len(groups)
    if groups == (6,):
        assert RatePriorConfig(groups=groups, hidden=sizes, expanded=sizes).channels == 6
        return
    with pytest.raises(ValueError, match="groups"):
        RatePriorConfig(groups=groups, hidden=sizes, expanded=sizes)
