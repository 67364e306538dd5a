"""Integer networks with weights from a formula, so that they are the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from omnicodec.models import exact
from omnicodec.models.exact.layer import Layer


def integers(count: int, seed: int) -> np.ndarray:
    """Numbers below 2**32 from a 64-bit LCG (Knuth's MMIX constants)."""
    state, values = seed * 2 + 1, np.empty(count, np.int64)
    for i in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values[i] = state >> 32
    return values


def fill(network: exact.Network, seed: int = 1) -> exact.Network:
    """Put weights into a network that use all of the range of its activations."""
    for index, (name, x) in enumerate(network.named_buffers()):
        values = torch.from_numpy(integers(x.numel(), seed * 1000 + index).reshape(x.shape))
        match name.rsplit(".", 1)[-1]:
            case "weight":
                x.copy_(values % 255 - 127)
            case "bias":
                x.copy_(values % 40001 - 20000)
            case "shift" if name == "layers.0.shift":
                x.copy_(values % 3)
            case "shift" if x.numel() > 1:
                x.copy_(7 + values % 4)
            case "shift":
                x.fill_(1)
            case "shift_out":
                x.fill_(3)
            case "left":
                x.copy_(torch.tensor([1, 0]))
            case "table" if int(x.abs().max()) == 0:
                x.copy_(values % 256 - 128)
    for layer in network.chain:
        layer.check()
    return network


SEQUENCE: dict[str, Callable[[], Sequence[Layer]]] = {
    "linear": lambda: [exact.Embedding([40, 9], 24), exact.Linear(24, 13)],
    "wide": lambda: [exact.Embedding([40, 9], 24, 16), exact.Requantize(), exact.Linear(24, 9, 16)],
    "convolution": lambda: [
        exact.Embedding([40, 9], 16),
        exact.CausalConv1d(16, 20, 3, 2),
        exact.Table(),
        exact.CausalConv1d(20, 11, 2, bits=16),
    ],
    "recurrent": lambda: [
        exact.Embedding([40, 9], 16),
        exact.MinGRU(16, 24),
        exact.MinGRU(24, 10, 16),
    ],
    "residual": lambda: [
        exact.Embedding([40, 9], 16, 16),
        exact.Residual(
            [exact.Requantize(), exact.MinGRU(16, 20), exact.Table(), exact.Linear(20, 16, 16)], 16
        ),
        exact.Residual([exact.Requantize(), exact.CausalConv1d(16, 16, 1)], 8),
        exact.Linear(16, 40, 16),
    ],
}

PICTURE: dict[str, Callable[[], Sequence[Layer]]] = {
    "A": lambda: [exact.Embedding([30], 8), exact.MaskedConv2d(8, 13, 5, "A", 16)],
    "AB": lambda: [
        exact.Embedding([30], 8),
        exact.MaskedConv2d(8, 12, 3, "A"),
        exact.Residual([exact.Table(), exact.MaskedConv2d(12, 12, 3, "B")]),
        exact.Linear(12, 30, 16),
    ],
}


@pytest.fixture(params=SEQUENCE)
def sequence_network(request: pytest.FixtureRequest) -> exact.Network:
    """Return networks over ids `(B, T, 2)` below 40 and 9."""
    return fill(exact.Network(SEQUENCE[request.param]()))


@pytest.fixture(params=PICTURE)
def picture_network(request: pytest.FixtureRequest) -> exact.Network:
    """Return networks over ids `(B, H, W)` below 30."""
    return fill(exact.Network(PICTURE[request.param]()))


@pytest.fixture
def residual_network() -> exact.Network:
    """Return the network of `SEQUENCE` that has one of nearly all layers."""
    return fill(exact.Network(SEQUENCE["residual"]()))


@pytest.fixture
def sequence_ids() -> Callable[[int, int], Tensor]:
    """Return ids `(B, T, 2)` below 40 and 9, from a formula."""

    def ids(batch: int, length: int) -> Tensor:
        values = integers(batch * length * 2, 7).reshape(batch, length, 2)
        return torch.from_numpy(values % np.array([40, 9]))

    return ids
