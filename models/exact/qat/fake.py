"""Quantization that gradients can pass: powers of two, rounding as in `requantize`.

Straight-through estimators (Bengio et al. 2013, arXiv:1308.3432; for integer networks Jacob et
al. 2018, arXiv:1712.05877): forward rounds and saturates, backward is the identity inside the
range and zero outside.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from omnicodec.models.exact import fixed

_SPAN: Final = 64
_POWERS: Final = tuple(2.0**k for k in range(-_SPAN, _SPAN + 1))


class Signal(NamedTuple):
    """Real values between two layers, all multiples of `2**-fraction` that fit `bits`."""

    value: Tensor
    fraction: int
    bits: int


def power_of_two(exponent: Tensor, like: Tensor) -> Tensor:
    """Return `2**exponent` exactly (`torch.pow` need not), in the type of `like`."""
    table = torch.tensor(_POWERS, dtype=like.dtype, device=like.device)
    return table[exponent.long() + _SPAN]


class _Quantize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        steps = torch.floor(x * scale + 0.5)
        ctx.save_for_backward((steps >= low) & (steps <= high))
        return steps.clamp(low, high) / scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None, None, None


def quantize(x: Tensor, fraction: int, bits: int) -> Tensor:
    """Round to multiples of `2**-fraction` and saturate to `bits`; gradients pass inside."""
    low, high = fixed.limits(bits)
    scale = torch.tensor(2.0**fraction, dtype=x.dtype, device=x.device)
    y: Tensor = _Quantize.apply(x, scale, low, high)  # type: ignore[no-untyped-call]
    return y


def substitute(smooth: Tensor, exact: Tensor) -> Tensor:
    """Return the values of `exact` with the gradient of `smooth`, both finite."""
    # Not smooth + (exact - smooth): that would round.
    return exact + (smooth - smooth.detach())


def weight_fractions(weight: Tensor, dim: int) -> Tensor:
    """Return the fractional bits of int8 weights, `(channels,)`, that just hold the largest.

    `dim` is the dimension over which channels share a step. A function of the weights alone,
    so that a twin and its export always agree.
    """
    exponent = torch.frexp(weight.detach().abs().amax(dim)).exponent
    return (7 - exponent).clamp(0, fixed.MAX_FRACTION)


def quantize_weight(weight: Tensor, fractions: Tensor, dim: int) -> Tensor:
    """Round weights to multiples of `2**-fractions`, saturated to 127 steps."""
    scale = power_of_two(fractions, weight).unsqueeze(dim)
    y: Tensor = _Quantize.apply(  # type: ignore[no-untyped-call]
        weight, scale, -fixed.MAX_WEIGHT, fixed.MAX_WEIGHT
    )
    return y


def quantize_bias(bias: Tensor, fractions: Tensor) -> Tensor:
    """Round biases to multiples of `2**-fractions`: the accumulators' steps."""
    y: Tensor = _Quantize.apply(  # type: ignore[no-untyped-call]
        bias, power_of_two(fractions, bias), -fixed.MAX_BIAS, fixed.MAX_BIAS
    )
    return y


class Range(nn.Module):
    """Chooses how many fractional bits an output has: from a running maximum, or as given.

    While training, and not frozen, it follows the mean of the batches' largest values.
    """

    peak: Tensor
    frozen: Tensor

    def __init__(self, bits: int, fraction: int | None = None, momentum: float = 0.05) -> None:
        super().__init__()
        fixed.limits(bits)
        if fraction is not None and not 0 <= fraction <= fixed.MAX_FRACTION:
            raise ValueError(f"fractions are in 0...{fixed.MAX_FRACTION}")
        self.bits, self.momentum, self._given = bits, momentum, fraction
        self.register_buffer("peak", torch.zeros(()))
        self.register_buffer("frozen", torch.tensor(fraction is not None))

    @property
    def fraction(self) -> int:
        """Fractional bits now. Raises RuntimeError before anything was seen."""
        if self._given is not None:
            return self._given
        peak = float(self.peak)
        if peak <= 0:
            raise RuntimeError("no range yet: run the network in training mode first")
        exponent = int(torch.frexp(self.peak).exponent)
        return min(max(self.bits - 1 - exponent, 0), fixed.MAX_FRACTION)

    def forward(self, x: Tensor) -> Signal:
        """Observe (while training), then quantize."""
        self.observe(x)
        fraction = self.fraction
        return Signal(quantize(x, fraction, self.bits), fraction, self.bits)

    def observe(self, x: Tensor) -> None:
        if not self.training or bool(self.frozen) or not x.numel():
            return
        largest = x.detach().abs().amax().to(self.peak.dtype).clamp(min=2.0**-30)
        weight = self.momentum if float(self.peak) > 0 else 1.0
        self.peak += weight * (largest - self.peak)

    def freeze(self) -> None:
        """Keep the fraction from now on."""
        self.frozen.fill_(True)


class _QuantizedReLU(torch.autograd.Function):
    """Rounds and saturates to 0...127 steps; gradients pass between."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fraction: int) -> Tensor:
        steps = torch.floor(x * (1 << fraction) + 0.5)
        ctx.save_for_backward((steps > 0) & (steps <= 127))
        rounded: Tensor = steps.clamp_(0, 127).div_(1 << fraction)
        return rounded

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None


def quantized_relu(x: Tensor, fraction: int) -> Tensor:
    """Return `x` rounded to 8 bits with `fraction` fractional ones, and cut off below 0."""
    y: Tensor = _QuantizedReLU.apply(x, fraction)  # type: ignore[no-untyped-call]
    return y
