"""The Prior interface: tokens to bytes and back, without loss, on every machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Span:
    """Positions `start` to `stop` (exclusive) of an item whose positions form `grid`.

    Chunks are coded independently, but where a chunk lies in its item is known to both
    sides and may be used as context.
    """

    grid: tuple[int, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class Prior(ABC):
    """Maps chunks of token ids to bytes and back.

    Everything between the bytes and the probabilities is integer arithmetic or exact
    IEEE arithmetic whose order is fixed, so that a stream opens on every machine.
    `fingerprint` (16 hex digits) changes with anything that changes a probability.
    """

    fingerprint: str

    parallel: ClassVar[bool] = False
    """Whether chunks are worth a thread each: coding one takes long and releases the GIL."""

    @abstractmethod
    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        """Return the bytes of one chunk: ids of shape `(K, len(span))`, in range."""

    def encode_large(self, ids: NDArray[np.int32], span: Span) -> bytes | None:
        """Return the bytes of a chunk that is far larger than the codec's usual ones.

        None, unless a prior finds in long items what its usual chunks hide from it.
        `decode` reads it.
        """
        return None

    @abstractmethod
    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        """Return the ids of one chunk, int32 `(K, len(span))`.

        Raises `CorruptStream` when the bytes cannot be those of such a chunk.
        """

    def warm(self) -> None:  # noqa: B027  # most priors have nothing to do
        """Compile ahead what the first chunk would wait for; nothing, unless a prior says so."""
