"""Sound through causal networks, block by block: streams, batches of any lengths, long clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class BlockEncoder(ABC):
    """A network on its way through B clips that begin together, one block after the other.

    It carries what the next block needs of those before it, for each row by itself: constant
    memory. A block is `HubStream._block` frames, whatever pieces the sound came in, because the
    last bits of a float depend on the shape that it was computed in.
    """

    @abstractmethod
    def run(self, samples: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return int64 codes `(B, books, n)` of the next block, `n = ceil(T / hop)`.

        `samples` are float32 `(B, channels, T)`, `lengths` how many of a row's T are sound; zeros
        follow. A row has fewer than a block at its clip's end only, and 0 behind it: codes behind
        its end are not looked at. T is a whole block, except where there is one row (a CPU): that
        of a last block is its length.
        """


class BlockDecoder(ABC):
    """A network on its way from the codes of B clips to their sound, as `BlockEncoder`."""

    @abstractmethod
    def run(self, codes: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Return float32 samples `(B, channels, n * hop)` of the next codes `(B, books, n)`.

        `lengths` are how many of a row's n there are; zeros follow, and what they give is not
        looked at. n is a whole block, except at the end of a single row.
        """
