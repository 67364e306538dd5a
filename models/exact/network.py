"""A chain of integer layers: run whole, step by step, stored and loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from omnicodec.models.exact.convolution import MaskedConv2d
from omnicodec.models.exact.layer import Layer, State
from omnicodec.models.exact.layers import Residual


class Network(nn.Module):
    """Integer layers one after another; equal results on every machine.

    `network(x)` takes a whole item; `network.step(x, state)` one position of a batch, in torch
    on any device; `Stepper` one position of one item, in compiled code, much faster.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        check_chain(layers)
        self.layers = nn.ModuleList(layers)

    @property
    def chain(self) -> list[Layer]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, Layer)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs at all positions: `(B, T, C)` or `(B, H, W, C)`, int8 or int16."""
        for layer in self.chain:
            x = layer(x)
        return x

    def open(self, batch: int = 1, grid: tuple[int, int] | None = None) -> State:
        """Return the state before the first step of `batch` items.

        `grid`, the height and width, is for networks with masked convolutions.
        """
        device = next(self.buffers()).device
        return [layer.open(batch, grid, device) for layer in self.chain]

    def step(self, x: Tensor, state: State) -> Tensor:
        """Return the outputs at the next position, `(B, C)`; the state moves on.

        `x` is what `forward` takes without its axis of time: ids `(B,)` or `(B, n)`.
        """
        for layer, inner in zip(self.chain, state, strict=True):
            x = layer.step(x, inner)
        return x

    def config(self) -> list[dict[str, Any]]:
        """Return what `from_config` builds the same chain from, in types that JSON has."""
        return [{"kind": layer.kind, **layer.settings()} for layer in self.chain]

    def tensors(self) -> dict[str, Tensor]:
        """Return all weights, as safetensors stores them: int8, int16 and int32 on the CPU."""
        return {name: x.cpu().contiguous() for name, x in self.state_dict().items()}

    @classmethod
    def from_config(
        cls, config: Sequence[Mapping[str, Any]], tensors: Mapping[str, Tensor]
    ) -> Network:
        """Return the network that `config` and `tensors` describe.

        Raises ValueError where they do not fit together or hold values that could overflow.
        """
        network = cls(build(config))
        expected = network.state_dict()
        if set(expected) != set(tensors):
            wrong = ", ".join(sorted(set(expected) ^ set(tensors)))
            raise ValueError(f"weights are missing, or too many: {wrong}")
        for name, x in tensors.items():
            if x.shape != expected[name].shape or x.dtype != expected[name].dtype:
                raise ValueError(f"weights {name!r} have another shape or type")
        network.load_state_dict(dict(tensors))
        for layer in network.chain:
            layer.check()
        return network

    def fingerprint(self) -> str:
        """Return 16 hex digits that change with anything that changes a result."""
        digest = hashlib.sha256(b"omnicodec.models.exact.v1")
        digest.update(json.dumps(self.config(), sort_keys=True).encode())
        for name, x in sorted(self.tensors().items()):
            values = x.numpy()
            digest.update(f"|{name}|".encode())
            digest.update(values.astype(values.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()[:16]


def build(config: Sequence[Mapping[str, Any]]) -> list[Layer]:
    """Return new layers of a config, all weights zero. Raises ValueError for unknown kinds."""
    layers = []
    for entry in config:
        settings = {name: value for name, value in entry.items() if name != "kind"}
        kind = Layer.kinds.get(entry.get("kind", ""))
        if kind is None:
            raise ValueError(f"no layer is called {entry.get('kind')!r}")
        if kind is Residual:
            settings["branch"] = build(settings.get("branch", []))
        try:
            layers.append(kind(**settings))
        except TypeError as e:
            raise ValueError(f"settings do not fit a layer {kind.kind!r}") from e
    return layers


def check_chain(layers: Sequence[Layer]) -> None:
    """Raise ValueError where a layer does not take what the one before it returns.

    Also where a mask "A" is not the first: only one convolution can be the step from what is
    known to what is predicted.
    """
    channels: int | None = None
    bits = 8
    for layer in layers:
        if bits == 16 and not layer.takes_16_bits:
            raise ValueError(f"{layer.kind} takes 8 bits; put a Requantize before it")
        channels, bits = layer.channels_out(channels), layer.bits
    masks = list(_masks(layers))
    if "A" in masks[1:]:
        raise ValueError('the mask "A" is for the first masked convolution of a network')


def _masks(layers: Sequence[Layer]) -> Iterator[str]:
    for layer in layers:
        if isinstance(layer, MaskedConv2d):
            yield layer.mask
        elif isinstance(layer, Residual):
            yield from _masks(layer.layers)
