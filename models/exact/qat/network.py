"""A chain of training twins, and what becomes of it: an integer network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omnicodec.models import exact
from omnicodec.models.exact.qat.fake import Range, Signal
from omnicodec.models.exact.qat.layers import Embedding, Residual, Twin


class Network(nn.Module):
    """Twins one after another, the first an `Embedding`.

    Train it as any module; then `freeze()`, train a little longer if you like, and
    `to_exact()`.
    """

    def __init__(self, twins: Sequence[Twin]) -> None:
        super().__init__()
        if not twins or not isinstance(twins[0], Embedding):
            raise ValueError("a network of twins starts with an Embedding")
        _check(twins, None)
        self.layers = nn.ModuleList(twins)

    @property
    def chain(self) -> list[Twin]:
        """The twins, in order."""
        return [twin for twin in self.layers if isinstance(twin, Twin)]

    def forward(self, ids: Tensor) -> Tensor:
        """Return real outputs, `(B, T, C)` or `(B, H, W, C)`: logits in nats, as trained."""
        first, *others = self.chain
        signal: Signal = first(ids)
        for twin in others:
            signal = twin(signal)
        return signal.value

    def freeze(self) -> None:
        """Keep every activation's step from now on; weights may still be trained."""
        for module in self.modules():
            if isinstance(module, Range):
                module.freeze()

    @torch.no_grad()
    def to_exact(self) -> exact.Network:
        """Return the integer network that computes what this one does in eval mode."""
        layers, fraction = [], 0
        for twin in self.chain:
            layers.append(twin.export(fraction))
            fraction = twin.range.fraction
        network = exact.Network(layers)
        for layer in network.chain:
            layer.check()
        return network


def _check(twins: Sequence[Twin], bits: int | None) -> None:
    for twin in twins:
        if bits == 16 and not twin.takes_16_bits:
            raise ValueError(f"{type(twin).__name__} takes 8 bits; put a Requantize before it")
        if isinstance(twin, Residual):
            _check(twin.twins, bits)
        bits = twin.range.bits
