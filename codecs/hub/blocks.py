"""What comes in pieces, cut into blocks, through a network in rows, and joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from omnicodec.codecs.hub.hub_codec import Array

if TYPE_CHECKING:
    import torch


class Cutter:
    """Cuts what comes in pieces `(..., n)` into blocks `(..., size)`, a new one each `step`."""

    def __init__(self, size: int, step: int) -> None:
        self._size, self._step = size, step
        self._waiting: Array | None = None

    def push(self, piece: Array) -> list[Array]:
        """Return the blocks that are whole with the next piece."""
        if self._waiting is not None:
            piece = np.concatenate([self._waiting, piece], -1)
        found, at = [], 0
        while piece.shape[-1] - at >= self._size:
            found.append(np.ascontiguousarray(piece[..., at : at + self._size]))
            at += self._step
        self._waiting = piece[..., at:].copy()
        return found

    def rest(self) -> list[Array]:
        """Return the blocks that are left, shorter ones."""
        left = self._waiting
        if left is None:
            return []
        starts = range(0, left.shape[-1], self._step)
        return [np.ascontiguousarray(left[..., at : at + self._size]) for at in starts]


class Rows:
    """Blocks of several clips side by side, each in its own row, always `width` of them."""

    def __init__(
        self,
        run: Callable[[torch.Tensor, Sequence[int]], torch.Tensor],
        width: int,
        size: int,
        device: str,
    ) -> None:
        """Take what runs a batch and the lengths of its rows, and the size of a block."""
        self._run_batch, self._width, self._size, self._device = run, width, size, device

    def run(self, blocks: Sequence[Array | None]) -> list[Array]:
        """Return what the network makes of each row's next block, None behind its end.

        The rows of one call are in the same places in the next. What follows from the zeros
        behind a block that is not whole comes back as well.
        """
        import torch

        lengths = [0 if block is None else block.shape[-1] for block in blocks]
        first = next(block for block in blocks if block is not None)
        if self._width == 1:
            batch = first[None]
        else:
            batch = np.zeros((self._width, *first.shape[:-1], self._size), first.dtype)
            for row, block in enumerate(blocks):
                if block is not None:
                    batch[row, ..., : lengths[row]] = block
            lengths += [0] * (self._width - len(lengths))
        with torch.inference_mode():
            found: Array = (
                self._run_batch(torch.from_numpy(batch).to(self._device), lengths).cpu().numpy()
            )
        return list(found[: len(blocks)])


def in_step(clips: Sequence[Iterator[Array]], rows: Rows) -> Iterator[tuple[int, int, Array]]:
    """Yield what a network makes of clips that run side by side, block by block.

    That is the number of the clip, the length of its block and what came of it.
    """
    while True:
        blocks = [next(clip, None) for clip in clips]
        if all(block is None for block in blocks):
            return
        for number, (block, found) in enumerate(zip(blocks, rows.run(blocks), strict=True)):
            if block is not None:
                yield number, block.shape[-1], found


class Joiner:
    """Joins decoded blocks `(..., n)`: these follow one another, and are left as they are."""

    def push(self, block: Array) -> Array:
        """Return what is final with the next block."""
        return block

    def finish(self) -> Array | None:
        """Return what was held back, if anything."""
        return None


class OverlapAdd(Joiner):
    """Joins blocks that begin each `step` and overlap: a mean, weighted by a triangle.

    That is EnCodec's. No block is longer than the first, whose length makes the triangle.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._weight = self._sums = np.zeros(0, np.float32)
        self._waiting: Array | None = None

    def push(self, block: Array) -> Array:
        size = block.shape[-1]
        if self._waiting is None:
            self._weight, self._waiting = _triangle(size), np.zeros_like(block[..., :0])
        ready = self._take(self._step)
        more = max(0, size - self._sums.size)
        self._waiting = np.pad(self._waiting, [(0, 0)] * (block.ndim - 1) + [(0, more)])
        self._sums = np.pad(self._sums, (0, more))
        self._waiting[..., :size] += self._weight[:size] * block
        self._sums[:size] += self._weight[:size]
        return ready

    def finish(self) -> Array | None:
        return None if self._waiting is None else self._take(self._sums.size)

    def _take(self, count: int) -> Array:
        assert self._waiting is not None
        ready: Array = self._waiting[..., :count] / self._sums[:count]
        self._waiting, self._sums = self._waiting[..., count:], self._sums[count:]
        return ready


def _triangle(size: int) -> Array:
    import torch

    time = torch.linspace(0, 1, size + 2)[1:-1]
    weight: Array = (0.5 - (time - 0.5).abs()).numpy()
    return weight
