"""The network of `audio/rvq` piece by piece, with the same floats however the pieces are cut.

The last bit of a float depends on the shape of the matrix that it was computed in. So every
pass has one shape, `BLOCK` frames, and frame n always has row n % BLOCK of it. A stream that
cannot wait runs a block before it is full: rows still to come cannot change those before
them, and the block is run again, from the same history, when more of it is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omnicodec.models.audio.rvq import AudioRVQ

BLOCK: Final = 64
"""Frames of one pass: 1.28 s. Twice as many are a fifth quicker, and half as quick live."""

HELD_BACK: Final = 1
"""Frames that an eager stream may hold back, which halves how often its blocks run."""

Samples = NDArray[np.float32]
Indices = NDArray[np.int32]
History = list[Tensor]
Pass = Callable[[Tensor, History], tuple[Tensor, list[Tensor]]]


class FrameEncoder:
    """Samples of one channel at the network's rate to columns of indices."""

    def __init__(self, network: AudioRVQ, used: int, width: int = 1) -> None:
        """Take how many codebooks to use; the indices of the others are 0.

        `width` is how many paths the search follows.
        """
        config = network.config
        self._hop, self._books, self._ahead = config.hop, config.books, config.lookahead
        self._network, self._used, self._width = network, used, width
        history = network.encoder.history()
        self._blocks = _Blocks(self._run, history, 2 * config.hop, config.books, self._ahead)
        # Frame 0 is centred on sample 0: half of it lies before the stream.
        self._waiting = torch.zeros(config.hop)
        self._taken = 0

    def push(self, samples: Samples, *, eager: bool) -> Indices:
        """Take samples `(T,)`; return the indices that are ready, `(K, n)`.

        All that are final but `HELD_BACK`, if `eager`; else what whole blocks give.
        """
        self._taken += samples.size
        return self._take(torch.tensor(samples), HELD_BACK if eager else BLOCK)

    def finish(self) -> Indices:
        """Return all indices that are left; T samples have `ceil(T / hop) + 1` columns, or 0."""
        if not self._taken:
            return np.zeros((self._books, 0), np.int32)
        # The last frame's second half, those that are looked ahead at, and a whole hop.
        silence = self._hop * (1 + self._ahead) + -self._taken % self._hop
        return self._take(torch.zeros(silence), 0)

    def _take(self, samples: Tensor, hold: int) -> Indices:
        waiting = torch.cat([self._waiting, samples])
        count = max(0, len(waiting) // self._hop - 1)
        self._waiting = waiting[count * self._hop :].clone()
        width = 2 * self._hop
        rows = waiting.unfold(0, width, self._hop)[:count] if count else waiting.new_zeros(0, width)
        return np.ascontiguousarray(self._blocks.push(rows, hold).numpy().T, np.int32)

    def _run(self, frames: Tensor, history: History) -> tuple[Tensor, list[Tensor]]:
        network = self._network
        first, shapes, seen = network.analyse_frames(frames[None], history)
        return network.quantizer.indices(first[0], shapes[0], self._used, self._width).T, seen


class FrameDecoder:
    """Columns of indices to samples of one channel at the network's rate."""

    def __init__(self, network: AudioRVQ) -> None:
        config = network.config
        self._network, self._hop = network, config.hop
        history = network.decoder.history()
        self._blocks = _Blocks(self._run, history, config.books, 2 * config.hop)
        self._last: Tensor | None = None

    def push(self, indices: Indices, *, eager: bool) -> Samples:
        """Take indices `(K, n)`; return the samples that are ready, `(T,)`.

        All that are final but `HELD_BACK`, if `eager`; else what whole blocks give. N
        columns together give N - 1 hops.
        """
        hold = HELD_BACK if eager else BLOCK
        return self._add(self._blocks.push(torch.tensor(indices).T, hold))

    def finish(self) -> Samples:
        """Return all samples that are left."""
        return self._add(self._blocks.push(torch.zeros(0, 0), 0))

    def _add(self, frames: Tensor) -> Samples:
        """Return the hops that frames `(n, 2 * hop)` complete."""
        if not len(frames):
            return np.zeros(0, np.float32)
        halves = frames.reshape(-1, self._hop)
        first = halves[:0] if self._last is None else self._last[None] + halves[:1]
        rest = halves[1:-1:2] + halves[2::2]
        self._last = halves[-1].clone()
        found: Samples = torch.cat([first, rest]).flatten().numpy()
        return found

    def _run(self, indices: Tensor, history: History) -> tuple[Tensor, list[Tensor]]:
        network = self._network
        levels, shapes = network.quantizer.vectors(indices.T.long())
        frames, seen = network.render_frames(levels[None], shapes[None], history)
        return frames[0], seen


class _Blocks:
    """Rows in, rows out, through passes of `BLOCK` rows.

    A pass sees `ahead` more rows, which are the first of the next one.
    """

    def __init__(
        self, run: Pass, history: History, width: int, out_width: int, ahead: int = 0
    ) -> None:
        self._run, self._ahead = run, ahead
        self._nothing = torch.zeros(0, out_width)
        self._history = history
        self._past = history[0].shape[1]
        self._device = history[0].device
        self._rows = torch.zeros(BLOCK + ahead, width, device=self._device)
        self._filled = 0
        self._given = 0

    @torch.inference_mode()
    def push(self, rows: Tensor, hold: int) -> Tensor:
        """Take rows `(n, width)`; return those of the output that are ready but `hold`."""
        ready = []
        while len(rows):
            taken = rows[: len(self._rows) - self._filled]
            rows = rows[len(taken) :]
            self._rows[self._filled : self._filled + len(taken)] = taken.to(self._device)
            self._filled += len(taken)
            if self._filled == len(self._rows):
                out, seen = self._run(self._rows, self._history)
                ready.append(out[self._given :].cpu())
                self._history = [each[:, -self._past :].clone() for each in seen]
                next_rows = self._rows[BLOCK:].clone()
                self._rows.zero_()
                self._rows[: self._ahead] = next_rows
                self._filled, self._given = self._ahead, 0
        final = self._filled - self._ahead
        if final - self._given > hold:
            out, _ = self._run(self._rows, self._history)
            ready.append(out[self._given : final].cpu())
            self._given = final
        return torch.cat(ready) if ready else self._nothing
