"""Convolutions that see only what is known: causal in time, masked in pictures.

Both gather their inputs into rows and multiply once; outside of the item are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from omnicodec.models.exact import kernels
from omnicodec.models.exact.layer import Projection, State
from omnicodec.models.exact.program import Program, Slot

Mask = Literal["A", "B", "checkerboard"]


def mask_offsets(kernel: int, mask: Mask) -> tuple[tuple[int, int], ...]:
    """Return the `(dy, dx)` that a masked convolution sees, in raster order.

    "A" is what comes before a position in raster order, "B" the position itself too (van den
    Oord et al. 2016, arXiv:1601.06759). "checkerboard" is every neighbour at an odd distance
    `|dy| + |dx|`: the other colour of a checkerboard, on all sides (He et al. 2021,
    arXiv:2103.15306).
    """
    if kernel < 1 or kernel % 2 == 0 or mask not in get_args(Mask):
        raise ValueError(f"no mask {mask!r} of size {kernel}: kernels are odd, masks {Mask}")
    reach = range(-(kernel // 2), kernel // 2 + 1)
    square = [(dy, dx) for dy in reach for dx in reach]
    if mask == "checkerboard":
        offsets = [(dy, dx) for dy, dx in square if (dy + dx) % 2]
    else:
        offsets = [place for place in square if place < (0, 0) or (mask == "B" and not any(place))]
    if not offsets:
        raise ValueError(f"mask {mask!r} of a kernel of {kernel} sees nothing")
    return tuple(offsets)


def gather_causal(x: Tensor, kernel: int, dilation: int) -> Tensor:
    """Return what each time sees, oldest first: `(B, T, C)` to `(B, T, kernel * C)`."""
    if x.ndim != 3:
        raise ValueError(f"a causal convolution is over (B, T, C), not {tuple(x.shape)}")
    reach, length = (kernel - 1) * dilation, x.shape[1]
    padded = F.pad(x, (0, 0, reach, 0))
    return torch.cat([padded[:, j * dilation :][:, :length] for j in range(kernel)], -1)


def gather_masked(x: Tensor, offsets: tuple[tuple[int, int], ...]) -> Tensor:
    """Return what each position sees: `(B, H, W, C)` to `(B, H, W, len(offsets) * C)`."""
    if x.ndim != 4:
        raise ValueError(f"a masked convolution is over (B, H, W, C), not {tuple(x.shape)}")
    height, width = x.shape[1:3]
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    padded = F.pad(x, (0, 0, reach, reach, reach, reach))
    return torch.cat(
        [padded[:, reach + dy :, reach + dx :][:, :height, :width] for dy, dx in offsets],
        -1,
    )


class CausalConv1d(Projection, kind="causal_conv1d"):
    """A convolution over this time and those before it: int8 `(B, T, inputs)`.

    The matrix has the taps side by side, oldest first: `(outputs, kernel * inputs)`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, dilation: int = 1, bits: int = 8
    ) -> None:
        if kernel < 1 or dilation < 1:
            raise ValueError(f"no convolution has kernel {kernel} and dilation {dilation}")
        super().__init__(inputs, kernel, outputs, bits)
        self.kernel, self.dilation = kernel, dilation

    def settings(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs, "outputs": self.weight.shape[0], "kernel": self.kernel,
            "dilation": self.dilation, "bits": self.bits,
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.project(gather_causal(x, self.kernel, self.dilation))

    def open(self, batch: int, grid: tuple[int, int] | None, device: torch.device) -> State:
        span = (self.kernel - 1) * self.dilation + 1
        return torch.zeros(batch, span, self.inputs, dtype=torch.int8, device=device)

    def step(self, x: Tensor, state: State) -> Tensor:
        window = torch.cat([state[:, 1:], x[:, None]], 1)
        state.copy_(window)
        return self.project(window[:, :: self.dilation].flatten(1))

    def emit(self, program: Program, source: Slot) -> Slot:
        ring = program.state(((self.kernel - 1) * self.dilation + 1) * self.inputs)
        return program.operation(
            kernels.CAUSAL, source, self.bits, self.weight.shape[0],
            *self.emit_matrix(program), self.inputs, ring, self.dilation,
        )  # fmt: skip


@dataclass
class Canvas:
    """What a masked convolution has been given: int8 `(B, H, W, C)`, and the next position."""

    values: Tensor
    position: int = 0


class MaskedConv2d(Projection, kind="masked_conv2d"):
    """A convolution over the known neighbours of each position: int8 `(B, H, W, inputs)`.

    The matrix has the offsets of `mask_offsets` side by side: `(outputs, offsets * inputs)`.

    `step` walks in raster order. With mask "B" it takes a position's input and returns its
    output. With mask "A" it takes the input of the position *before* (whatever is given at
    the first is not looked at), for the input at a position is what the output there predicts.
    So a network whose first convolution is an "A" takes the token just decoded, from the
    layers before that on, and returns the logits for the next.

    A "checkerboard" has no order of steps: its two passes call `at`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, mask: Mask, bits: int = 8) -> None:
        offsets = mask_offsets(kernel, mask)
        super().__init__(inputs, len(offsets), outputs, bits)
        self.kernel, self.mask, self.offsets = kernel, mask, offsets

    def settings(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs, "outputs": self.weight.shape[0], "kernel": self.kernel,
            "mask": self.mask, "bits": self.bits,
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.project(gather_masked(x, self.offsets))

    def at(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the outputs at some positions only.

        `x` is int8 `(B, H, W, inputs)`, of which only what the mask sees is read; `rows` and
        `columns` are int64 `(P,)`. Returns `(B, P, outputs)`, equal to what `forward` has there.
        """
        height, width = x.shape[1:3]
        parts = []
        for dy, dx in self.offsets:
            v, u = rows + dy, columns + dx
            inside = (v >= 0) & (v < height) & (u >= 0) & (u < width)
            part = x[:, v.clamp(0, height - 1), u.clamp(0, width - 1)]
            parts.append(part * inside[None, :, None].to(x.dtype))
        return self.project(torch.cat(parts, -1))

    def open(self, batch: int, grid: tuple[int, int] | None, device: torch.device) -> State:
        self._check_steps(grid)
        return Canvas(
            torch.zeros(batch, *(grid or ()), self.inputs, dtype=torch.int8, device=device)
        )

    def step(self, x: Tensor, state: State) -> Tensor:
        width = state.values.shape[2]
        known = state.position - (self.mask == "A")
        if known >= 0:
            state.values[:, known // width, known % width] = x
        row, column = divmod(state.position, width)
        if row >= state.values.shape[1]:
            raise IndexError("a step beyond the last position of the grid")
        state.position += 1
        here = torch.tensor([[row], [column]], device=x.device)
        return self.at(state.values, here[0], here[1])[:, 0]

    def emit(self, program: Program, source: Slot) -> Slot:
        height, width = self._check_steps(program.grid)
        canvas = program.state(height * width * self.inputs)
        return program.operation(
            kernels.MASKED, source, self.bits, self.weight.shape[0],
            *self.emit_matrix(program), self.inputs, canvas,
            program.words(torch.tensor(self.offsets)), int(self.mask == "A"),
        )  # fmt: skip

    def _check_steps(self, grid: tuple[int, int] | None) -> tuple[int, int]:
        if self.mask == "checkerboard":
            raise TypeError("a checkerboard has no raster order; compute its passes with `at`")
        if grid is None:
            raise ValueError("a masked convolution goes step by step over a grid: (height, width)")
        return grid
