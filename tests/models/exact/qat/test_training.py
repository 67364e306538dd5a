"""Quantization-aware training learns, and what it learned survives in integers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from omnicodec.models import exact
from omnicodec.models.exact import qat


def test_a_recurrent_network_learns_to_remember() -> None:
    """Symbols repeat after four steps, of which the convolutions see but three."""
    torch.manual_seed(0)
    network = qat.Network(
        [
            qat.Embedding([5], 24),
            qat.CausalConv1d(24, 32, 2),
            qat.Residual([qat.Activation("gelu"), qat.MinGRU(32, 32)]),
            qat.CausalConv1d(32, 32, 2),
            qat.Activation("silu"),
            qat.Linear(32, 4, bits=16, fraction=exact.LOGIT_FRACTION),
        ]
    )
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(4, (size, 4)).repeat(1, 4)
        return F.pad(symbols[:, :-1], (1, 0), value=4), symbols

    for step in range(110):
        before, symbols = batch(24)
        loss = F.cross_entropy(network(before).flatten(0, 1), symbols.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 90:
            network.freeze()
    before, symbols = batch(64)
    p = exact.frequencies(network.to_exact()(before)) / 2.0**16
    nats = -p.gather(-1, symbols[..., None]).log()[..., 0]
    assert float(nats[:, :4].mean()) > 0.95 * math.log(4)  # there is nothing to know yet
    assert float(nats[:, 4:].mean()) < 0.1 * math.log(4)
    twin = F.cross_entropy(network(before).flatten(0, 1), symbols.flatten())
    assert abs(float(nats.mean() - twin.detach())) < 0.001
