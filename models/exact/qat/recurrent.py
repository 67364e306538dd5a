"""The training twin of minGRU: a parallel scan for gradients, the integer walk for values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from omnicodec.models import exact
from omnicodec.models.exact import kernels
from omnicodec.models.exact.qat.fake import Range, Signal, quantize, substitute, weight_fractions
from omnicodec.models.exact.qat.layers import Twin, accumulate, fill_matrix, look_up
from omnicodec.models.exact.recurrent import GATE_FRACTION, gate_table, recurrence


def scan(decay: Tensor, drive: Tensor) -> Tensor:
    """Return `h[t] = decay[t] * h[t - 1] + drive[t]` along dimension 1, from `h = 0`.

    In log2(T) steps of whole tensors (Hillis & Steele 1986), so as fast on a GPU as on a CPU.
    """
    step, length = 1, drive.shape[1]
    while step < length:
        reach = decay[:, step:]
        drive = torch.cat([drive[:, :step], drive[:, step:] + reach * drive[:, :-step]], 1)
        decay = torch.cat([decay[:, :step], reach * decay[:, :-step]], 1)
        step *= 2
    return drive


class _Scan(torch.autograd.Function):
    """`scan` whose backward is one more scan, from the end, instead of a tape of log2(T)."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, drive: Tensor) -> Tensor:
        h = scan(decay, drive)
        ctx.save_for_backward(decay, h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        decay, h = ctx.saved_tensors
        # What reaches h[t]: its own gradient, and decay[t + 1] of what reaches h[t + 1].
        following = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], 1)
        reached = scan(following.flip(1), grads[0].flip(1)).flip(1)
        before = torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1)
        return reached * before, reached


class MinGRU(Twin):
    """Twin of `exact.MinGRU`, over `(B, T, inputs)`.

    `state_fraction` is the fractional bits of the 16-bit state: 11 reach from -16 to 16.
    While training and not frozen, the values are those of the float scan, which differs
    from the integer walk by its roundings (2**-12 a step, forgotten as the gate forgets); once
    frozen, or in eval mode, they are the walk's.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        bits: int = 8,
        fraction: int | None = None,
        state_fraction: int = 11,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(2 * channels, inputs).uniform_(-1, 1) * inputs**-0.5)
        # Gates start anywhere from half open to nearly shut: memories of 2 to 50 steps.
        gates = torch.linspace(0, -4, channels)
        self.bias = nn.Parameter(torch.cat([gates, torch.zeros(channels)]))
        self.channels, self.state_fraction = channels, state_fraction
        self.range = Range(bits, fraction)
        self.candidate = Range(16, state_fraction)

    def forward(self, x: Signal) -> Signal:
        before, drive = accumulate(x.value, x.fraction, self.weight, self.bias).chunk(2, -1)
        before = quantize(before, GATE_FRACTION, 8)
        gate = look_up(
            Signal(before, GATE_FRACTION, 8), gate_table(), kernels.GATE_BITS, before.sigmoid()
        )
        candidate = self.candidate(drive).value
        h: Tensor = _Scan.apply(1 - gate, gate * candidate)  # type: ignore[no-untyped-call]
        if not self.training or bool(self.range.frozen):
            h = substitute(h, self._walk(gate, candidate).to(h.dtype))
        signal: Signal = self.range(h)
        return signal

    def _walk(self, gate: Tensor, candidate: Tensor) -> Tensor:
        z = (gate.detach() * 2.0**kernels.GATE_BITS).to(torch.int16)
        c = (candidate.detach() * 2.0**self.state_fraction).to(torch.int16)
        state = torch.zeros(len(z), self.channels, dtype=torch.int32, device=z.device)
        return recurrence(z, c, state).double() * 2.0**-self.state_fraction

    def export(self, fraction: int) -> exact.MinGRU:
        layer = exact.MinGRU(self.weight.shape[1], self.channels, self.range.bits)
        fill_matrix(self.weight, self.bias, fraction, layer.weight, layer.bias)
        shift = fraction + weight_fractions(self.weight, 1)
        shift[: self.channels] -= GATE_FRACTION
        shift[self.channels :] -= self.state_fraction
        layer.shift.copy_(shift)
        layer.shift_out.fill_(self.state_fraction - self.range.fraction)
        return layer
