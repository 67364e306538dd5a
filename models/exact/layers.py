"""Layers that see one position: embedding, linear, table, requantization, residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omnicodec.models.exact import fixed, kernels
from omnicodec.models.exact.layer import Layer, Projection, State, expect, requantized
from omnicodec.models.exact.program import Program, Slot


class Embedding(Layer, kind="embedding"):
    """Sum of one row from each of several tables.

    Takes ids, integers `(..., n)` for `n` tables of `sizes` rows, or `(...)` where there is
    one table; returns int8 or int16 `(..., channels)`. Several tables are how a network sees
    several ids at once: earlier tokens, hashes of n-grams, a patch's codes.

    Buffers: `weight` int8 `(sum of sizes, channels)`, `shift` int8 `(channels,)`.
    """

    weight: Tensor
    shift: Tensor

    def __init__(self, sizes: Sequence[int], channels: int, bits: int = 8) -> None:
        super().__init__()
        fixed.limits(bits)
        if not sizes or min(sizes) < 1 or channels < 1 or len(sizes) > fixed.MAX_INPUTS:
            raise ValueError(f"tables of {list(sizes)} rows by {channels} are not possible")
        self.sizes, self.bits = tuple(sizes), bits
        self.register_buffer("weight", torch.zeros(sum(sizes), channels, dtype=torch.int8))
        self.register_buffer("shift", torch.zeros(channels, dtype=torch.int8))

    def settings(self) -> dict[str, Any]:
        return {"sizes": list(self.sizes), "channels": self.weight.shape[1], "bits": self.bits}

    def channels_out(self, channels: int | None) -> int:
        if channels is not None:
            raise ValueError("an embedding is the first layer of its network")
        return self.weight.shape[1]

    def check(self) -> None:
        fixed.check_shift(self.shift)

    def forward(self, ids: Tensor) -> Tensor:
        ids = ids[..., None] if len(self.sizes) == 1 else ids
        total: Tensor | None = None
        for row, table in zip(ids.unbind(-1), self.weight.split(self.sizes), strict=True):
            if row.numel() and not (0 <= int(row.min()) and int(row.max()) < len(table)):
                raise IndexError("an id is out of the range of its embedding")
            found = table[row.long()].to(torch.int32)
            total = found if total is None else total + found
        assert total is not None  # there is at least one table
        rows = total.reshape(-1, total.shape[-1])
        bias = torch.zeros_like(self.shift, dtype=torch.int32)
        return requantized(rows, bias, self.shift, self.bits).reshape(total.shape)

    def emit(self, program: Program, source: Slot) -> Slot:
        return program.operation(
            kernels.EMBED, source, self.bits, self.weight.shape[1],
            program.bytes(self.weight), len(self.sizes), 0, program.words(self.shift),
            program.words(torch.tensor(self.sizes)),
        )  # fmt: skip


class Linear(Projection, kind="linear"):
    """A matrix and a bias: int8 `(..., inputs)` to int8 or int16 `(..., outputs)`."""

    def __init__(self, inputs: int, outputs: int, bits: int = 8) -> None:
        super().__init__(inputs, 1, outputs, bits)

    def settings(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "outputs": self.weight.shape[0], "bits": self.bits}

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x)

    def emit(self, program: Program, source: Slot) -> Slot:
        outputs = self.weight.shape[0]
        return program.operation(
            kernels.LINEAR, source, self.bits, outputs, *self.emit_matrix(program)
        )


class Table(Layer, kind="table"):
    """Any function of one int8 value: `table` int16 `(256,)`, entry `q + 128` for input `q`."""

    table: Tensor

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        fixed.limits(bits)
        self.bits = bits
        self.register_buffer("table", torch.zeros(256, dtype=torch.int16))

    def settings(self) -> dict[str, Any]:
        return {"bits": self.bits}

    def channels_out(self, channels: int | None) -> int:
        if channels is None:
            raise ValueError(f"{self.kind} is not the first layer of a network")
        return channels

    def check(self) -> None:
        low, high = fixed.limits(self.bits)
        if int(self.table.min()) < low or int(self.table.max()) > high:
            raise ValueError(f"a table's entry does not fit {self.bits} bits")

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.int8:
            raise TypeError(f"a table takes int8, not {x.dtype}")
        if x.device.type != "cpu":
            return self.table.to(fixed.DTYPES[self.bits])[x.to(torch.int32) + 128]
        out = torch.empty(x.shape, dtype=fixed.DTYPES[self.bits])
        x = x.contiguous()
        kernels.look_up(x.view(-1).numpy(), self.table.numpy(), out.view(-1).numpy())
        return out

    def emit(self, program: Program, source: Slot) -> Slot:
        return program.operation(
            kernels.TABLE, source, self.bits, source.size, program.words(self.table)
        )


class Requantize(Layer, kind="requantize"):
    """Another step or width: `shift` int8 `(1,)`, how far values are shifted right."""

    shift: Tensor

    takes_16_bits = True

    def __init__(self, bits: int = 8) -> None:
        super().__init__()
        fixed.limits(bits)
        self.bits = bits
        self.register_buffer("shift", torch.zeros(1, dtype=torch.int8))

    def settings(self) -> dict[str, Any]:
        return {"bits": self.bits}

    def channels_out(self, channels: int | None) -> int:
        if channels is None:
            raise ValueError(f"{self.kind} is not the first layer of a network")
        return channels

    def check(self) -> None:
        fixed.check_shift(self.shift)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.to(torch.int32).reshape(-1, x.shape[-1])
        bias = torch.zeros(x.shape[-1], dtype=torch.int32, device=x.device)
        shift = self.shift.repeat(x.shape[-1])
        return requantized(rows, bias, shift, self.bits).reshape(x.shape)

    def emit(self, program: Program, source: Slot) -> Slot:
        return program.operation(
            kernels.REQUANTIZE, source, self.bits, source.size,
            0, 0, 0, program.words(self.shift),
        )  # fmt: skip


class Residual(Layer, kind="residual"):
    """The input plus what a branch of layers makes of it, requantized.

    Buffers: `left` int8 `(2,)`, by how much the input and the branch's result are shifted
    left to the finer step of the two (so one of them is 0), and `shift` int8 `(1,)`.
    """

    left: Tensor
    shift: Tensor

    takes_16_bits = True

    def __init__(self, branch: Sequence[Layer], bits: int = 8) -> None:
        super().__init__()
        fixed.limits(bits)
        if any(getattr(layer, "mask", None) == "A" for layer in branch):
            raise ValueError("a residual would lead past the mask A of its branch")
        self.branch = torch.nn.ModuleList(branch)
        self.bits = bits
        self.register_buffer("left", torch.zeros(2, dtype=torch.int8))
        self.register_buffer("shift", torch.zeros(1, dtype=torch.int8))

    @property
    def layers(self) -> list[Layer]:
        return [layer for layer in self.branch if isinstance(layer, Layer)]

    def settings(self) -> dict[str, Any]:
        branch = [{"kind": layer.kind, **layer.settings()} for layer in self.layers]
        return {"branch": branch, "bits": self.bits}

    def channels_out(self, channels: int | None) -> int:
        if channels is None:
            raise ValueError("a residual is not the first layer of a network")
        inner = channels
        for layer in self.layers:
            inner = layer.channels_out(inner)
        expect(self, inner, channels)
        return channels

    def check(self) -> None:
        fixed.check_shift(self.shift)
        low, high = sorted(self.left.tolist())
        if low != 0 or high > fixed.MAX_FRACTION:
            raise ValueError(f"left shifts of a residual are 0 and at most {fixed.MAX_FRACTION}")
        for layer in self.layers:
            layer.check()

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for layer in self.layers:
            y = layer(y)
        return self._add(x, y)

    def open(self, batch: int, grid: tuple[int, int] | None, device: torch.device) -> State:
        return [layer.open(batch, grid, device) for layer in self.layers]

    def step(self, x: Tensor, state: State) -> Tensor:
        y = x
        for layer, inner in zip(self.layers, state, strict=True):
            y = layer.step(y, inner)
        return self._add(x, y)

    def _add(self, x: Tensor, y: Tensor) -> Tensor:
        if x.shape != y.shape:
            raise ValueError(f"{tuple(x.shape)} and {tuple(y.shape)} do not add up")
        if x.device.type == "cpu":
            out = torch.empty(x.shape, dtype=fixed.DTYPES[self.bits])
            a, b = x.contiguous().view(-1).numpy(), y.contiguous().view(-1).numpy()
            shift = int(self.shift)
            kernels.add(a, b, self.left.numpy(), shift, self.bits, out.view(-1).numpy())
            return out
        left = self.left.to(torch.int32)
        total = torch.bitwise_left_shift(x.to(torch.int32), left[0])
        total += torch.bitwise_left_shift(y.to(torch.int32), left[1])
        return fixed.requantize(total, self.shift, self.bits)

    def emit(self, program: Program, source: Slot) -> Slot:
        result = source
        for layer in self.layers:
            result = layer.emit(program, result)
        shifts = program.words(torch.cat([self.shift, self.left]))
        return program.operation(
            kernels.ADD, source, self.bits, source.size, result.start, 0, 0, shifts
        )
