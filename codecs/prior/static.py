"""The static prior: one trained histogram per digit of a token.

A codebook of 65,536 entries has too many symbols for a histogram that is trained on some
hundred thousand tokens, so each codebook may be split into the digits of a mixed radix
(FSQ's levels are just that), and each digit has a histogram of its own. Entropy coding is
constriction's range coder (Bamler, "Understanding Entropy Coding With ANS", 2022).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Final

import constriction
import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import CorruptStream, InvalidInput
from omnicodec.codecs.prior.base import Prior, Span

FORMAT: Final = b"omnicodec.prior.static.v1"

TOTAL: Final = 1 << 16
"""Frequencies of one histogram add up to this, or for large alphabets to a larger power of two;
each is at least 1."""

MAX_TOTAL: Final = 1 << 22
"""The largest total: the coder has 24 bits."""


def total_for(symbols: int) -> int:
    """Return the total for an alphabet of this size: 64 a symbol where there is room.

    With two a symbol, the least frequency of 1 for each would take half of what there is.
    """
    return min(max(TOTAL, 64 << (symbols - 1).bit_length()), MAX_TOTAL)


def quantize_counts(counts: NDArray[np.int64], total: int = TOTAL) -> NDArray[np.int64]:
    """Return frequencies that add up to `total`, each at least 1, close to the counts.

    Largest-remainder rounding in integers, so that training gives one result everywhere.
    """
    counts = np.asarray(counts, np.int64) + 1
    spare = total - counts.size
    if spare < 0:
        raise InvalidInput(f"{counts.size} symbols do not fit a total of {total}")
    scaled = counts * spare
    frequencies: NDArray[np.int64] = 1 + scaled // counts.sum()
    short = total - int(frequencies.sum())
    remainders = scaled % counts.sum()
    frequencies[np.argsort(-remainders, kind="stable")[:short]] += 1
    return frequencies


class StaticPrior(Prior):
    """Independent digits, each with a fixed histogram.

    `digits` has for each codebook the frequency tables of its digits, least significant
    digit first; the product of their lengths is the codebook's size.
    """

    def __init__(self, digits: Sequence[Sequence[NDArray[np.int64]]]) -> None:
        self._tables = [[np.asarray(table, np.int64) for table in book] for book in digits]
        self._radices = [[table.size for table in book] for book in self._tables]
        digest = hashlib.sha256(FORMAT)
        self._models = []
        self.bits_per_position = 0.0
        for book in self._tables:
            models = []
            for table in book:
                total = total_for(table.size)
                if table.sum() != total or table.min() < 1:
                    raise InvalidInput("a static prior's frequencies do not add up")
                digest.update(np.int64(table.size).tobytes() + table.astype("<i8").tobytes())
                # Multiples of 2**-22 are exact in float64 and in the coder's 24-bit fixed
                # point, so the model is the same integers on every machine.
                p = table / total
                models.append(constriction.stream.model.Categorical(p, perfect=False))
                self.bits_per_position -= float(np.dot(p, np.log2(p)))
            digest.update(b"|")
            self._models.append(models)
        self.fingerprint = digest.hexdigest()[:16]

    @classmethod
    def train(cls, counts: Sequence[Sequence[NDArray[np.int64]]]) -> StaticPrior:
        """Return the prior for these counts of each digit of each codebook."""
        return cls(
            [[quantize_counts(table, total_for(table.size)) for table in book] for book in counts]
        )

    @classmethod
    def from_tables(cls, tables: Mapping[str, NDArray[np.int64]]) -> StaticPrior:
        """Return the prior whose tables `tables` wrote."""
        books: dict[int, dict[int, NDArray[np.int64]]] = {}
        for name, table in tables.items():
            book, digit = map(int, name.split("."))
            books.setdefault(book, {})[digit] = table
        return cls([[books[b][d] for d in sorted(books[b])] for b in sorted(books)])

    def tables(self) -> dict[str, NDArray[np.int64]]:
        """Return the frequency tables as `<codebook>.<digit>`: what is stored as weights."""
        return {
            f"{b}.{d}": table for b, book in enumerate(self._tables) for d, table in enumerate(book)
        }

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        return tuple(math.prod(book) for book in self._radices)

    def encode(self, ids: NDArray[np.int32], span: Span) -> bytes:
        coder = constriction.stream.queue.RangeEncoder()
        for row, radices, models in zip(ids, self._radices, self._models, strict=True):
            for radix, model in zip(radices, models, strict=True):
                row, digit = np.divmod(row, np.int32(radix))
                coder.encode(np.ascontiguousarray(digit, np.int32), model)
        return _words_to_bytes(coder.get_compressed())

    def decode(self, data: bytes, span: Span) -> NDArray[np.int32]:
        if len(span) == 0:
            return np.zeros((len(self._radices), 0), np.int32)
        coder = constriction.stream.queue.RangeDecoder(_bytes_to_words(data))
        ids = np.zeros((len(self._radices), len(span)), np.int32)
        try:
            for row, radices, models in zip(ids, self._radices, self._models, strict=True):
                place = 1
                for radix, model in zip(radices, models, strict=True):
                    row += coder.decode(model, len(span)) * np.int32(place)
                    place *= radix
        except (AssertionError, ValueError) as e:
            raise CorruptStream("entropy-coded data is invalid") from e
        if not coder.maybe_exhausted():
            raise CorruptStream("entropy-coded data has more than its chunk says")
        return ids


def _words_to_bytes(words: NDArray[np.uint32]) -> bytes:
    """Return little-endian bytes without the zero bytes at their end."""
    return words.astype("<u4").tobytes().rstrip(b"\0")


def _bytes_to_words(data: bytes) -> NDArray[np.uint32]:
    padded = data + b"\0" * (-len(data) % 4)
    return np.frombuffer(padded, "<u4").astype(np.uint32)
