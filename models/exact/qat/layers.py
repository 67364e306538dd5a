"""Training twins of the layers that see one position, and of the convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omnicodec.models import exact
from omnicodec.models.exact.convolution import Mask, gather_causal, gather_masked
from omnicodec.models.exact.layer import Layer
from omnicodec.models.exact.layer import Projection as ExactProjection
from omnicodec.models.exact.qat.fake import (
    Range,
    Signal,
    quantize_bias,
    quantize_weight,
    substitute,
    weight_fractions,
)
from omnicodec.models.exact.tables import activation_table


class Twin(nn.Module):
    """A float layer whose results are those of an integer layer, with gradients.

    In float64 the results equal the integer layer's exactly. In float32 they do while sums
    (with rounding) stay below 2**24 accumulator steps, and otherwise may differ by a rounding.
    Not for autocast: bfloat16 does not hold the sums.
    """

    takes_16_bits: ClassVar[bool] = False
    range: Range

    def export(self, fraction: int) -> Layer:
        """Return the integer layer, for inputs of `fraction` fractional bits.

        Its output has `self.range.fraction` and `self.range.bits`.
        """
        raise NotImplementedError


class Embedding(Twin):
    """Twin of `exact.Embedding`: a sum of rows of float tables."""

    def __init__(
        self, sizes: Sequence[int], channels: int, bits: int = 8, fraction: int | None = None
    ) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        scale = len(self.sizes) ** -0.5
        self.weight = nn.Parameter(torch.randn(sum(sizes), channels) * scale)
        self.range = Range(bits, fraction)

    def forward(self, ids: Tensor) -> Signal:
        ids = ids[..., None] if len(self.sizes) == 1 else ids
        weight = quantize_weight(self.weight, weight_fractions(self.weight, 0), 0)
        rows = zip(ids.unbind(-1), weight.split(self.sizes), strict=True)
        found = torch.stack([F.embedding(row.long(), table) for row, table in rows])
        signal: Signal = self.range(found.sum(0))
        return signal

    def export(self, fraction: int = 0) -> exact.Embedding:
        fractions = weight_fractions(self.weight, 0)
        layer = exact.Embedding(self.sizes, self.weight.shape[1], self.range.bits)
        layer.weight.copy_(to_steps(quantize_weight(self.weight, fractions, 0), fractions))
        layer.shift.copy_(fractions - self.range.fraction)
        return layer


class Projection(Twin):
    """Twin of `exact.layer.Projection`: a float matrix and bias, quantized on the way.

    `weight` is `(outputs, inputs)` and `bias` `(outputs,)`.
    """

    def __init__(self, inputs: int, outputs: int, bits: int, fraction: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-1, 1) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.range = Range(bits, fraction)

    def project(self, x: Tensor, fraction: int) -> Signal:
        signal: Signal = self.range(accumulate(x, fraction, self.weight, self.bias))
        return signal

    def fill(self, layer: ExactProjection, fraction: int) -> None:
        """Put integer weights, biases and shifts into the layer."""
        fill_matrix(self.weight, self.bias, fraction, layer.weight, layer.bias)
        layer.shift.copy_(fraction + weight_fractions(self.weight, 1) - self.range.fraction)


def accumulate(x: Tensor, fraction: int, weight: Tensor, bias: Tensor) -> Tensor:
    """Return what integer accumulators hold, as real numbers."""
    fractions = weight_fractions(weight, 1)
    return F.linear(
        x, quantize_weight(weight, fractions, 1), quantize_bias(bias, fractions + fraction)
    )


def fill_matrix(
    weight: Tensor, bias: Tensor, fraction: int, weight_out: Tensor, bias_out: Tensor
) -> None:
    """Write the integers of a float matrix and bias."""
    fractions = weight_fractions(weight, 1)
    weight_out.copy_(to_steps(quantize_weight(weight, fractions, 1), fractions[:, None]))
    whole = fractions + fraction
    # Accumulators have up to 2**29 steps, more than float32 counts.
    bias_out.copy_(to_steps(quantize_bias(bias, whole).double(), whole))


def to_steps(x: Tensor, fractions: Tensor) -> Tensor:
    """Return how many steps of `2**-fractions` quantized values are."""
    x = x.detach().double()
    scale = torch.tensor([2.0**k for k in range(64)], dtype=torch.float64, device=x.device)
    return (x * scale[fractions.long()]).round().to(torch.int32)


class Linear(Projection):
    """Twin of `exact.Linear`. For logits give `bits=16, fraction=exact.LOGIT_FRACTION`."""

    def __init__(
        self, inputs: int, outputs: int, bits: int = 8, fraction: int | None = None
    ) -> None:
        super().__init__(inputs, outputs, bits, fraction)

    def forward(self, x: Signal) -> Signal:
        return self.project(x.value, x.fraction)

    def export(self, fraction: int) -> exact.Linear:
        outputs, inputs = self.weight.shape
        layer = exact.Linear(inputs, outputs, self.range.bits)
        self.fill(layer, fraction)
        return layer


class CausalConv1d(Projection):
    """Twin of `exact.CausalConv1d`, over `(B, T, inputs)`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        dilation: int = 1,
        bits: int = 8,
        fraction: int | None = None,
    ) -> None:
        super().__init__(kernel * inputs, outputs, bits, fraction)
        self.inputs, self.kernel, self.dilation = inputs, kernel, dilation

    def forward(self, x: Signal) -> Signal:
        return self.project(gather_causal(x.value, self.kernel, self.dilation), x.fraction)

    def export(self, fraction: int) -> exact.CausalConv1d:
        layer = exact.CausalConv1d(
            self.inputs, self.weight.shape[0], self.kernel, self.dilation, self.range.bits
        )
        self.fill(layer, fraction)
        return layer


class MaskedConv2d(Projection):
    """Twin of `exact.MaskedConv2d`, over `(B, H, W, inputs)`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        mask: Mask,
        bits: int = 8,
        fraction: int | None = None,
    ) -> None:
        self.offsets = exact.mask_offsets(kernel, mask)
        super().__init__(len(self.offsets) * inputs, outputs, bits, fraction)
        self.inputs, self.kernel, self.mask = inputs, kernel, mask

    def forward(self, x: Signal) -> Signal:
        return self.project(gather_masked(x.value, self.offsets), x.fraction)

    def export(self, fraction: int) -> exact.MaskedConv2d:
        layer = exact.MaskedConv2d(
            self.inputs, self.weight.shape[0], self.kernel, self.mask, self.range.bits
        )
        self.fill(layer, fraction)
        return layer


class Requantize(Twin):
    """Twin of `exact.Requantize`: another width or step."""

    takes_16_bits = True

    def __init__(self, bits: int = 8, fraction: int | None = None) -> None:
        super().__init__()
        self.range = Range(bits, fraction)

    def forward(self, x: Signal) -> Signal:
        signal: Signal = self.range(x.value)
        return signal

    def export(self, fraction: int) -> exact.Requantize:
        layer = exact.Requantize(self.range.bits)
        layer.shift.fill_(fraction - self.range.fraction)
        return layer


class Residual(Twin):
    """Twin of `exact.Residual`: the input plus a branch."""

    takes_16_bits = True

    def __init__(self, branch: Sequence[Twin], bits: int = 8, fraction: int | None = None) -> None:
        super().__init__()
        self.branch = nn.ModuleList(branch)
        self.range = Range(bits, fraction)

    @property
    def twins(self) -> list[Twin]:
        return [twin for twin in self.branch if isinstance(twin, Twin)]

    def forward(self, x: Signal) -> Signal:
        y = x
        for twin in self.twins:
            y = twin(y)
        signal: Signal = self.range(x.value + y.value)
        return signal

    def export(self, fraction: int) -> exact.Residual:
        layers, inner = [], fraction
        for twin in self.twins:
            layers.append(twin.export(inner))
            inner = twin.range.fraction
        layer = exact.Residual(layers, self.range.bits)
        finer = max(fraction, inner)
        layer.left.copy_(torch.tensor([finer - fraction, finer - inner]))
        layer.shift.fill_(finer - self.range.fraction)
        return layer


_SMOOTH = {
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Activation(Twin):
    """Twin of `exact.Table` for a function of `exact.FUNCTIONS`."""

    def __init__(self, function: str, bits: int = 8, fraction: int | None = None) -> None:
        super().__init__()
        if function not in exact.FUNCTIONS:
            raise ValueError(f"no function {function!r}; there are {', '.join(exact.FUNCTIONS)}")
        self.function = function
        self.range = Range(bits, fraction)

    def forward(self, x: Signal) -> Signal:
        smooth: Tensor = _SMOOTH[self.function](x.value)
        self.range.observe(smooth)
        fraction = self.range.fraction
        return Signal(
            look_up(x, self._table(x.fraction), fraction, smooth), fraction, self.range.bits
        )

    def export(self, fraction: int) -> exact.Table:
        layer = exact.Table(self.range.bits)
        layer.table.copy_(self._table(fraction))
        return layer

    def _table(self, fraction: int) -> Tensor:
        table = activation_table(self.function, fraction, self.range.fraction, self.range.bits)
        return torch.from_numpy(table.copy())


def look_up(x: Signal, table: Tensor, fraction: int, smooth: Tensor) -> Tensor:
    """Return a table's values for int8 inputs, with the gradient of the smooth function."""
    steps = (x.value.detach() * 2.0**x.fraction).to(torch.int64)
    values = table.to(x.value.device)[steps + 128].to(smooth.dtype) * 2.0**-fraction
    return substitute(smooth, values)
