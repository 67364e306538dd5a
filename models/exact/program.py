"""A network laid out in flat arrays, for `kernels.advance`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models.exact.kernels import COLUMNS


@dataclass(frozen=True)
class Slot:
    """`size` registers from `start` on: the values between two operations."""

    start: int
    size: int


@dataclass
class Program:
    """Collects operations, weights, and the room they need for values and state."""

    grid: tuple[int, int] | None = None
    _rows: list[list[int]] = field(default_factory=list)
    _bytes: list[NDArray[np.int8]] = field(default_factory=list)
    _words: list[NDArray[np.int32]] = field(default_factory=list)
    _byte_count: int = 0
    _word_count: int = 0
    _registers: int = 0
    _state: int = 1  # the first entry counts steps
    _widest: int = 1

    def bytes(self, weight: Tensor) -> int:
        """Append int8 values; return where they start."""
        values = weight.detach().cpu().contiguous().numpy().astype(np.int8).reshape(-1)
        self._bytes.append(values)
        self._byte_count += values.size
        return self._byte_count - values.size

    def words(self, values: Tensor) -> int:
        """Append integers as int32; return where they start."""
        array = values.detach().cpu().to(torch.int32).numpy().reshape(-1)
        self._words.append(array)
        self._word_count += array.size
        return self._word_count - array.size

    def slot(self, size: int) -> Slot:
        """Reserve registers."""
        self._registers += size
        return Slot(self._registers - size, size)

    def state(self, size: int) -> int:
        """Reserve state, zero at the first step; return where it starts."""
        self._state += size
        return self._state - size

    def operation(self, code: int, source: Slot, bits: int, size: int, *columns: int) -> Slot:
        """Append an operation with its columns from 5 on; return where its results will be.

        Columns 6 of matrix operations is the number of inputs, for which room is made.
        """
        target = self.slot(size)
        row = [code, source.start, target.start, size, bits, *columns]
        self._rows.append(row + [0] * (COLUMNS - len(row)))
        if len(columns) > 1:
            self._widest = max(self._widest, columns[1])
        return target

    def build(
        self,
    ) -> tuple[
        NDArray[np.int64],
        NDArray[np.int8],
        NDArray[np.int32],
        NDArray[np.int32],
        NDArray[np.int16],
        NDArray[np.int32],
    ]:
        """Return program, int8 weights, int32 constants, registers, inputs and state."""
        height, width = self.grid or (0, 0)
        header = [len(self._rows), height, width, height * width]
        rows = np.array(self._rows, np.int64).reshape(-1)
        return (
            np.concatenate([np.array(header, np.int64), rows]),
            np.concatenate([*self._bytes, np.zeros(0, np.int8)]),
            np.concatenate([*self._words, np.zeros(0, np.int32)]),
            np.zeros(self._registers, np.int32),
            np.zeros(self._widest, np.int16),
            np.zeros(self._state, np.int32),
        )
