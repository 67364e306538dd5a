"""The prior of `audio/rvq`: as many codebooks as a chunk uses, a histogram for each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream
from omnicodec.codecs.prior import Prior, Span, StaticPrior

FORMAT: Final = b"omnicodec.prior.nested.v1"


class NestedPrior(Prior):
    """A static prior over the codebooks that a chunk uses, the number of which comes first.

    A codebook that is not used is a row of zeros behind those that are; it takes no bits.
    """

    def __init__(self, tables: Mapping[str, NDArray[np.int64]]) -> None:
        """Take tables as `StaticPrior.tables` returns them, with one digit a codebook."""
        self._tables = [tables[f"{book}.0"] for book in range(len(tables))]
        whole = StaticPrior([[table] for table in self._tables])
        self.bits_per_position = whole.bits_per_position
        self.fingerprint = hashlib.sha256(FORMAT + whole.fingerprint.encode()).hexdigest()[:16]
        self._of = lru_cache(maxsize=None)(self._first)

    def _first(self, used: int) -> StaticPrior:
        return StaticPrior([[table] for table in self._tables[:used]])

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        filled = np.flatnonzero(ids.any(1))
        used = int(filled[-1]) + 1 if filled.size else 0
        return bytes([used]) + (self._of(used).encode(ids[:used], span) if used else b"")

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        ids = np.zeros((len(self._tables), len(span)), np.int32)
        if not data or data[0] > len(self._tables):
            raise CorruptStream("a chunk does not say how many codebooks it uses")
        if data[0]:
            ids[: data[0]] = self._of(data[0]).decode(data[1:], span)
        elif len(data) > 1:
            raise CorruptStream("entropy-coded data has more than its chunk says")
        return ids
