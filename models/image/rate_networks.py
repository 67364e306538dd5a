"""The networks of the exact prior of `image/rate` as they run: integers only.

The first group goes position by position inside of the entropy coder's loop, so its network is
a compiled function; the others take all positions of half a chunk at once, in the matrix
products of `exact`. Both compute the layers of `exact.Linear`:
`requantize(weight @ x + bias, shift)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models import exact
from omnicodec.models.image.rate_contexts import FRACTION
from omnicodec.models.image.rate_prior import BRANCH
from omnicodec.models.kernels import Integer, kernel

Arrays = Mapping[str, NDArray[Any]]

_LEFT: Final = BRANCH - FRACTION
_ROUND: Final = 1 << (_LEFT - 1)
_BITS: Final = {"enter": 8, "expand": 8, "project": 16, "out": 16}

I32 = np.int32


class GroupNetwork:
    """The network of one group over many positions. An instance may be shared by threads."""

    def __init__(self, arrays: Arrays, group: int, inputs: int, outputs: int) -> None:
        """Take the integers of this group among those that `RatePriorNet.tensors` returned.

        Raises ValueError for what is missing, does not fit or could overflow.
        """
        names = [name for name in _BITS if group > 0 or name != "project"]
        self._layers = {name: _linear(arrays, f"{group}.{name}", _BITS[name]) for name in names}
        width = inputs
        for name, layer in self._layers.items():
            if layer.inputs != width:
                raise ValueError(f"the layer {group}.{name} does not take {width} inputs")
            width = layer.weight.shape[0]
        if width != outputs or (group > 0 and self._layers["out"].inputs != self.hidden):
            raise ValueError(f"layers of group {group} do not fit each other")

    @property
    def hidden(self) -> int:
        """How wide the first hidden layer is."""
        return int(self._layers["enter"].weight.shape[0])

    def __call__(self, x: NDArray[np.int8]) -> NDArray[np.int16]:
        """Return the results int16 `(M, outputs)` for inputs int8 `(M, inputs)`."""
        hidden = self._layers["enter"](torch.from_numpy(x)).clamp_(min=0)
        inner = self._layers["expand"](hidden).clamp_(min=0)
        if (project := self._layers.get("project")) is not None:
            add_branch(hidden.numpy(), project(inner).numpy())
            inner = hidden
        found: Tensor = self._layers["out"](inner)
        return found.numpy()


class FirstNetwork(NamedTuple):
    """The network of the first group as its loop takes it.

    Weights are int32 `(inputs, outputs)`, biases and shifts int32 `(outputs,)`.
    """

    enter: NDArray[np.int32]
    enter_bias: NDArray[np.int32]
    enter_shift: NDArray[np.int32]
    expand: NDArray[np.int32]
    expand_bias: NDArray[np.int32]
    expand_shift: NDArray[np.int32]
    out: NDArray[np.int32]
    out_bias: NDArray[np.int32]
    out_shift: NDArray[np.int32]


def first_network(arrays: Arrays, inputs: int, outputs: int) -> FirstNetwork:
    """Return the first group's network, checked as `GroupNetwork` does."""
    GroupNetwork(arrays, 0, inputs, outputs)
    parts = []
    for name in ("enter", "expand", "out"):
        parts.append(np.array(arrays[f"0.{name}.weight"].T, np.int32, order="C"))
        parts += [np.array(arrays[f"0.{name}.{part}"], np.int32) for part in ("bias", "shift")]
    return FirstNetwork(*parts)


def _linear(arrays: Arrays, name: str, bits: int) -> exact.Linear:
    try:
        parts = {
            p: np.ascontiguousarray(arrays[f"{name}.{p}"]) for p in ("weight", "bias", "shift")
        }
    except KeyError as e:
        raise ValueError(f"weights are missing: {e}") from e
    if parts["weight"].ndim != 2:
        raise ValueError(f"weights {name} are not a matrix")
    layer = exact.Linear(parts["weight"].shape[1], parts["weight"].shape[0], bits)
    for part, array in parts.items():
        tensor, buffer = torch.from_numpy(array), getattr(layer, part)
        if tensor.shape != buffer.shape or tensor.dtype != buffer.dtype:
            raise ValueError(f"weights {name}.{part} have another shape or type")
        buffer.copy_(tensor)
    layer.check()
    return layer


@kernel
def add_branch(x: NDArray[np.int8], branch: NDArray[np.int16]) -> None:
    """Add a residual's branch to `x` in place, rounded and saturated."""
    for m in range(x.shape[0]):
        row, more = x[m], branch[m]
        for n in range(row.size):
            total = I32(I32(I32(row[n]) << I32(_LEFT)) + I32(more[n]) + I32(_ROUND)) >> I32(_LEFT)
            row[n] = min(max(I32(total), I32(-128)), I32(127))


@kernel
def _rescale(x: Integer, shift: Integer, low: Integer, high: Integer) -> Integer:
    """`exact.requantize` of one integer."""
    if shift > 0:
        x = (x + (1 << (shift - 1))) >> shift
    x = min(max(x, low), high)
    if shift < 0:
        x = min(max(x << -shift, low), high)
    return x


@kernel
def _layer(
    weight: NDArray[np.int32],
    bias: NDArray[np.int32],
    x: NDArray[np.int32],
    sums: NDArray[np.int32],
) -> None:
    """Put the accumulators of a layer into `sums`."""
    for n in range(sums.size):
        sums[n] = bias[n]
    for k in range(x.size):
        value, row = x[k], weight[k]
        if value != 0:
            for n in range(sums.size):
                sums[n] += I32(value * row[n])


@kernel
def run_first(
    network: FirstNetwork,
    x: NDArray[np.int32],
    hidden: NDArray[np.int32],
    inner: NDArray[np.int32],
    out: NDArray[np.int32],
) -> None:
    """Run the first group's network on inputs `x`; `hidden` and `inner` are room to work in."""
    _layer(network.enter, network.enter_bias, x, hidden)
    for n in range(hidden.size):
        hidden[n] = _rescale(np.int64(hidden[n]), np.int64(network.enter_shift[n]), 0, 127)
    _layer(network.expand, network.expand_bias, hidden, inner)
    for n in range(inner.size):
        inner[n] = _rescale(np.int64(inner[n]), np.int64(network.expand_shift[n]), 0, 127)
    _layer(network.out, network.out_bias, inner, out)
    for n in range(out.size):
        out[n] = _rescale(np.int64(out[n]), np.int64(network.out_shift[n]), -32768, 32767)
