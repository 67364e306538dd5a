"""A gated recurrent layer whose gates see the input alone: minGRU.

After "Were RNNs All We Needed?" (Feng et al. 2024, arXiv:2410.01201): all matrix products of
an item are done at once, and what is left for the walk through time is one multiplication a
channel. The walk, not a parallel scan, defines the result: integers are rounded at each step.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from omnicodec.models.exact import fixed, kernels
from omnicodec.models.exact.layer import Layer, State, check_matrix, expect
from omnicodec.models.exact.matmul import int8_matmul
from omnicodec.models.exact.program import Program, Slot
from omnicodec.models.exact.tables import activation_table

GATE_FRACTION: Final = 4
"""Fractional bits of a gate before its sigmoid: 8 bits reach from -8 to 8."""


def gate_table() -> Tensor:
    """Return the sigmoid of the update gate in units of 2**-15, int16 `(256,)`."""
    table = activation_table("sigmoid", GATE_FRACTION, kernels.GATE_BITS, 16)
    return torch.from_numpy(table.copy()).to(torch.int16)


class MinGRU(Layer, kind="mingru"):
    """`h = (1 - z) * h + z * c`, with `z = sigmoid(U x)` and `c = V x`, from `h = 0`.

    Takes int8 `(B, T, inputs)`; returns `h`, requantized to int8 or int16 `(B, T, channels)`.
    Inside, `z` counts 2**-15 (0 to 2**15 - 1) and `h` and `c` have 16 bits; a step is
    `h += (z * (c - h) + 2**14) >> 15`.

    Buffers: `weight` int8 `(2 * channels, inputs)`, U above V, with `bias` and `shift` as in
    `Projection`; `table` int16 `(256,)`, the gate's sigmoid; `shift_out` int8 `(1,)`.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor
    table: Tensor
    shift_out: Tensor

    def __init__(self, inputs: int, channels: int, bits: int = 8) -> None:
        super().__init__()
        fixed.limits(bits)
        if not 0 < inputs <= fixed.MAX_INPUTS or channels < 1:
            raise ValueError(f"a layer of {inputs} inputs and {channels} channels is not possible")
        self.channels, self.bits = channels, bits
        self.register_buffer("weight", torch.zeros(2 * channels, inputs, dtype=torch.int8))
        self.register_buffer("bias", torch.zeros(2 * channels, dtype=torch.int32))
        self.register_buffer("shift", torch.zeros(2 * channels, dtype=torch.int8))
        self.register_buffer("table", gate_table())
        self.register_buffer("shift_out", torch.zeros(1, dtype=torch.int8))

    def settings(self) -> dict[str, Any]:
        return {"inputs": self.weight.shape[1], "channels": self.channels, "bits": self.bits}

    def channels_out(self, channels: int | None) -> int:
        expect(self, channels, self.weight.shape[1])
        return self.channels

    def check(self) -> None:
        check_matrix(self.weight, self.bias, self.shift)
        fixed.check_shift(self.shift_out)
        if int(self.table.min()) < 0:
            raise ValueError("a gate is negative")

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError(f"a recurrent layer is over (B, T, C), not {tuple(x.shape)}")
        return self._walk(x, self.open(len(x), None, x.device))

    def open(self, batch: int, grid: tuple[int, int] | None, device: torch.device) -> State:
        return torch.zeros(batch, self.channels, dtype=torch.int32, device=device)

    def step(self, x: Tensor, state: State) -> Tensor:
        return self._walk(x[:, None], state)[:, 0]

    def _walk(self, x: Tensor, state: Tensor) -> Tensor:
        sums = int8_matmul(x.reshape(-1, x.shape[-1]), self.weight)
        sums = sums.reshape(*x.shape[:-1], 2 * self.channels)
        if x.device.type != "cpu":
            return self._walk_in_torch(sums, state)
        out = torch.empty(*x.shape[:-1], self.channels, dtype=fixed.DTYPES[self.bits])
        kernels.recurrent_rows(
            sums.contiguous().numpy(), self.bias.numpy(), self.shift.numpy(), self.table.numpy(),
            int(self.shift_out), self.bits, state.numpy(), out.numpy(),
        )  # fmt: skip
        return out

    def _walk_in_torch(self, sums: Tensor, state: Tensor) -> Tensor:
        """Do what `kernels.recurrent_rows` does, on any device."""
        gates, candidates = (sums + self.bias).chunk(2, -1)
        shift, candidate_shift = self.shift.chunk(2)
        gate = self.table[fixed.requantize(gates, shift, 8).to(torch.int32) + 128]
        candidate = fixed.requantize(candidates, candidate_shift, 16)
        h = recurrence(gate, candidate, state)
        return fixed.requantize(h.to(torch.int32), self.shift_out, self.bits)

    def emit(self, program: Program, source: Slot) -> Slot:
        shifts = program.words(torch.cat([self.shift, self.shift_out]))
        return program.operation(
            kernels.MINGRU, source, self.bits, self.channels,
            program.bytes(self.weight), self.weight.shape[1], program.words(self.bias), shifts,
            program.words(self.table), program.state(self.channels),
            program.slot(2 * self.channels).start,
        )  # fmt: skip


def recurrence(gate: Tensor, candidate: Tensor, state: Tensor) -> Tensor:
    """Return every `h` of a walk through time, on any device.

    `gate` and `candidate` are int16 `(B, T, C)`, as is the result; `state`, int32 `(B, C)`, is the
    first `h` and becomes the last.
    """
    out = torch.empty_like(candidate)
    half = 1 << (kernels.GATE_BITS - 1)
    for t in range(gate.shape[1]):
        change = gate[:, t].to(torch.int32) * (candidate[:, t].to(torch.int32) - state)
        state += (change + half) >> kernels.GATE_BITS
        out[:, t] = state.to(torch.int16)
    return out
