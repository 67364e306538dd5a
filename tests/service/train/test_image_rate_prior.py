"""The fit of the prior of `image/rate`: what it learns, and that it goes on where it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omnicodec.codecs import InvalidInput
from omnicodec.codecs.image._rate_prior import RatePrior
from omnicodec.codecs.prior import Span
from omnicodec.models.image.rate_contexts import FIRST
from omnicodec.models.image.rate_prior import RatePriorConfig, RatePriorNet
from omnicodec.service.train.image_rate_prior import (
    RatePriorSettings,
    fit_rate_prior,
    item,
    load_integers,
)

CONFIG = RatePriorConfig(groups=(6, 10, 17), hidden=(16, 16, 16), expanded=(16, 24, 24))
CHANNELS = CONFIG.channels


def picture(seed: int, height: int = 12, width: int = 14) -> np.ndarray:
    """Latents whose size is told by a channel's neighbours: smooth areas, and rough ones."""
    rng = np.random.default_rng(seed)
    diagonal = np.add.outer(np.arange(height), np.arange(width))
    rough = np.where(diagonal < rng.integers(4, 22), 5, 0.05)
    y = np.round(rng.laplace(0, rough * np.geomspace(4, 0.5, CHANNELS)[:, None, None]))
    y[0] += np.round(90 * np.sin(seed + diagonal / 9))
    return y.astype(np.int32)


def start() -> dict[str, torch.Tensor]:
    """A float model of these sizes before training: the mean is the latent to the left."""
    torch.manual_seed(0)
    network = RatePriorNet(CONFIG)
    state = {"lowest.linear": torch.eye(FIRST, 4 * FIRST)}
    for g in range(3):
        prefix = "lowest." if g == 0 else f"groups.{g - 1}."
        names = ("expand", "hidden", "out") if g == 0 else ("enter", "expand", "project", "out")
        for name, twin in zip(names, network.group(g).layers().values(), strict=True):
            state[f"{prefix}{name}.weight"] = twin.weight.detach().clone()
            state[f"{prefix}{name}.bias"] = twin.bias.detach().clone()
    return state


ITEMS = [item(picture(seed), 40.0) for seed in range(40)]


def settings(steps: int) -> RatePriorSettings:
    return RatePriorSettings(
        steps=steps,
        shares=(0.3, 0.3, 0.4),
        chunks=8,
        rows=512,
        rate=1e-2,
        counted=40,
        network=CONFIG,
    )


def coded_bits(tensors: dict[str, np.ndarray]) -> float:
    """Bits of a latent in pictures that were not trained on."""
    prior, bits, count = RatePrior.from_tensors(tensors), 0, 0
    for seed in range(100, 104):
        y = picture(seed)
        ids = np.where(y > 0, 2 * y - 1, -2 * y).reshape(CHANNELS, -1).astype(np.int32)
        span = Span(y.shape[1:], 0, ids.shape[1])
        data = prior.encode(ids, span)
        assert np.array_equal(prior.decode(data, span), ids)
        bits, count = bits + 8 * len(data), count + ids.size
    return bits / count


def histogram_bits() -> float:
    """The same by one histogram for each channel, counted on the very pictures."""
    y = np.concatenate([picture(seed).reshape(CHANNELS, -1) for seed in range(100, 104)], 1)
    bits = 0.0
    for row in y:
        _, counts = np.unique(row, return_counts=True)
        bits -= (counts * np.log2(counts / row.size)).sum()
    return bits / y.size


def test_fit_learns_contexts_and_goes_on_where_it_was() -> None:
    logged: list[dict[str, float]] = []
    untrained = fit_rate_prior(ITEMS, start(), settings(0), lambda **values: logged.append(values))
    assert logged == [{"group": 3, "counted": logged[0]["counted"]}]
    trained = fit_rate_prior(ITEMS, untrained, settings(600), lambda **_: None)
    bits = coded_bits(trained)
    assert bits < 0.97 * histogram_bits()
    assert bits < 0.85 * coded_bits(untrained)
    again = fit_rate_prior(ITEMS, trained, settings(0), lambda **_: None)
    assert set(again) == set(trained)
    for name, tensor in trained.items():
        assert np.array_equal(again[name], tensor), name


def test_integers_come_back_as_floats() -> None:
    torch.manual_seed(4)
    tensors = {name: t.numpy() for name, t in RatePriorNet(CONFIG).tensors().items()}
    network = RatePriorNet(CONFIG)
    load_integers(network, tensors)
    for name, tensor in network.tensors().items():
        assert np.array_equal(tensor.numpy(), tensors[name]), name


def test_latents_are_cut_to_what_codes_hold() -> None:
    found = item(np.full((CHANNELS, 2, 3), 9999), 10.0)
    assert found.y.shape == (6, CHANNELS)
    assert (found.y[:, :FIRST] == 2047).all()
    assert (found.y[:, FIRST:] == 511).all()


def test_a_fit_needs_latents_and_a_start_of_its_size() -> None:
    with pytest.raises(InvalidInput, match="without latents"):
        fit_rate_prior([], start(), settings(0), lambda **_: None)
    for other in ({}, {**start(), "groups.1.out.bias": torch.zeros(3)}):
        with pytest.raises(InvalidInput, match="start"):
            fit_rate_prior(ITEMS[:2], other, settings(0), lambda **_: None)
