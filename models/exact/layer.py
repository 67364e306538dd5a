"""What all integer layers are: modules of integer buffers, run whole or step by step."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from omnicodec.models.exact import fixed, kernels
from omnicodec.models.exact.matmul import int8_matmul
from omnicodec.models.exact.program import Program, Slot

State = Any
"""What a layer remembers between steps: None, a tensor, or a small object of its own."""


class Layer(nn.Module):
    """One integer layer.

    `forward` takes a whole item at once: `(B, T, C)`, or `(B, H, W, C)` for pictures, and
    `step` one position after another: `(B, C)`, with the state that `open` made. Both give the
    same integers. Weights are buffers; a new layer's are zero until they are loaded.
    """

    kinds: ClassVar[dict[str, type[Layer]]] = {}
    kind: ClassVar[str]
    bits: int
    """8 or 16: the width of what the layer returns."""

    takes_16_bits: ClassVar[bool] = False

    def __init_subclass__(cls, *, kind: str | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if kind is not None:
            cls.kind = kind
            Layer.kinds[kind] = cls

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, in types that JSON has."""
        raise NotImplementedError

    def channels_out(self, channels: int | None) -> int:
        """Return how many channels come out where `channels` go in.

        None means that this is the first layer. Raises ValueError where they do not fit.
        """
        raise NotImplementedError

    def check(self) -> None:
        """Raise ValueError where the buffers hold what no trained layer can."""

    def open(self, batch: int, grid: tuple[int, int] | None, device: torch.device) -> State:
        """Return the state before the first position."""
        return None

    def step(self, x: Tensor, state: State) -> Tensor:
        """Return the outputs of the next position, and put what they leave into the state."""
        y: Tensor = self(x)
        return y

    def emit(self, program: Program, source: Slot) -> Slot:
        """Append this layer to a program; return where its results will be."""
        raise NotImplementedError


class Projection(Layer):
    """A layer around one int8 matrix: what linear layers and convolutions share.

    Buffers: `weight` int8 `(outputs, taps * inputs)` in -127...127, `bias` int32 `(outputs,)`
    in units of the accumulator, `shift` int8 `(outputs,)`: how far each accumulator is shifted
    right. `taps` is how many positions an output sees.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor

    def __init__(self, inputs: int, taps: int, outputs: int, bits: int) -> None:
        super().__init__()
        fixed.limits(bits)
        if min(inputs, taps, outputs) < 1 or taps * inputs > fixed.MAX_INPUTS:
            raise ValueError(f"no layer has {taps} times {inputs} inputs and {outputs} outputs")
        self.inputs, self.bits = inputs, bits
        self.register_buffer("weight", torch.zeros(outputs, taps * inputs, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("shift", torch.zeros(outputs, dtype=torch.int8))

    def channels_out(self, channels: int | None) -> int:
        expect(self, channels, self.inputs)
        return self.weight.shape[0]

    def check(self) -> None:
        check_matrix(self.weight, self.bias, self.shift)

    def project(self, x: Tensor) -> Tensor:
        """Return the outputs, `(..., outputs)`, of int8 rows `(..., taps * inputs)`."""
        rows = x.reshape(-1, x.shape[-1])
        y = requantized(int8_matmul(rows, self.weight), self.bias, self.shift, self.bits)
        return y.reshape(*x.shape[:-1], y.shape[-1])

    def emit_matrix(self, program: Program) -> tuple[int, int, int, int]:
        """Return weight, inputs, bias and shifts: the columns 5 to 8 of an operation."""
        weight = program.bytes(self.weight)
        return weight, self.weight.shape[1], program.words(self.bias), program.words(self.shift)


def expect(layer: Layer, channels: int | None, inputs: int) -> None:
    """Raise ValueError unless a layer of `inputs` channels can follow one of `channels`."""
    if channels not in {None, inputs}:
        raise ValueError(f"{layer.kind} takes {inputs} channels and would be given {channels}")


def requantized(sums: Tensor, bias: Tensor, shift: Tensor, bits: int) -> Tensor:
    """Return `requantize(sums + bias, shift, bits)`; `sums` is int32 `(M, N)`."""
    if sums.device.type != "cpu":
        return fixed.requantize(sums + bias, shift, bits)
    out = torch.empty(sums.shape, dtype=fixed.DTYPES[bits])
    kernels.requantize_rows(
        sums.contiguous().numpy(), bias.numpy(), shift.numpy(), bits, out.numpy()
    )
    return out


def check_matrix(weight: Tensor, bias: Tensor, shift: Tensor) -> None:
    """Raise ValueError for weights, biases or shifts that could overflow."""
    fixed.check_shift(shift)
    if weight.numel() and int(weight.min()) < -fixed.MAX_WEIGHT:
        raise ValueError("a weight is -128; weights are in -127...127")
    if bias.numel() and int(bias.to(torch.int64).abs().max()) > fixed.MAX_BIAS:
        raise ValueError(f"a bias is beyond {fixed.MAX_BIAS}")
