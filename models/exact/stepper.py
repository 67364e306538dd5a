"""The fast way to run a network step by step: one item, compiled code, no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from omnicodec.models.exact.kernels import advance, advance_all
from omnicodec.models.exact.layer import Layer
from omnicodec.models.exact.layers import Embedding
from omnicodec.models.exact.network import Network
from omnicodec.models.exact.program import Program, Slot


class Stepper:
    """Runs a network that starts with an Embedding, one position at a time, on the CPU.

    The same integers as the network's. One stepper serves one thread; `copy` makes more that
    share its weights. A loop that is itself compiled calls `kernels.advance(*arrays, ids)`
    and finds the outputs in `arrays[3][outputs.start : outputs.start + outputs.size]`.
    """

    def __init__(self, network: Network, grid: tuple[int, int] | None = None) -> None:
        first, *others = network.chain
        if not isinstance(first, Embedding):
            raise TypeError(f"a stepper's network starts with an Embedding, not {first.kind}")
        self.ids = len(first.sizes)
        program = Program(grid)
        slot = Slot(0, 0)
        layers: list[Layer] = [first, *others]
        for layer in layers:
            slot = layer.emit(program, slot)
        self.outputs = slot
        self.arrays = program.build()

    def copy(self) -> Stepper:
        """Return a stepper of the same network at the same step, with values of its own."""
        other = object.__new__(Stepper)
        other.ids, other.outputs = self.ids, self.outputs
        program, w8, w32, registers, inputs, state = self.arrays
        other.arrays = (program, w8, w32, registers.copy(), inputs.copy(), state.copy())
        return other

    @property
    def state(self) -> NDArray[np.int32]:
        """All that is remembered between steps; copy it, and write it back to return."""
        return self.arrays[5]

    def reset(self) -> None:
        """Go back to before the first step."""
        self.state[:] = 0

    def step(self, ids: ArrayLike) -> NDArray[np.int32]:
        """Return the outputs of the next position, `(C,)`, for its ids: `n` integers or one."""
        row = np.asarray(ids, np.int64).reshape(-1)
        if row.size != self.ids:
            raise ValueError(f"{row.size} ids for {self.ids} tables")
        advance(*self.arrays, row)
        start, size = self.outputs.start, self.outputs.size
        return self.arrays[3][start : start + size].copy()

    def run(self, ids: ArrayLike) -> NDArray[np.int32]:
        """Return the outputs of the next positions, `(T, C)`, for ids `(T, n)` or `(T,)`."""
        rows = np.asarray(ids, np.int64).reshape(-1, self.ids)
        out = np.empty((len(rows), self.outputs.size), np.int32)
        advance_all(*self.arrays, rows, self.outputs.start, out)
        return out
