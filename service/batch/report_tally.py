"""What a report counts: lengths and codebooks, of any number of rows in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Tokens
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.tasks import token_count

_EXACT_BITS: Final = 8
_RUN: Final = 64

WHOLE: Final = "whole items"
"""The name of the lengths of items of several modalities, all their parts together."""


class Lengths:
    """How often each length occurs: exact below 256, else to one part in 128 to 256.

    The least, the most, the count and the sum are exact.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.count, self.total = 0, 0
        self.least, self.most = 0, 0

    def add(self, length: int) -> None:
        """Count a length, 0 or more."""
        self.least = min(self.least, length) if self.count else length
        self.most = max(self.most, length)
        self.count += 1
        self.total += length
        drop = max(0, length.bit_length() - _EXACT_BITS)
        self._counts[length >> drop << drop] += 1

    @property
    def mean(self) -> float:
        return self.total / max(1, self.count)

    def quantile(self, share: float) -> int:
        """Return the length that `share` of all are at most, 0 to 1; 0 where there are none."""
        wanted, seen = share * self.count, 0
        for length, count in sorted(self._counts.items()):
            seen += count
            if seen >= wanted:
                return min(max(length, self.least), self.most)
        return self.most

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield lengths, from the least, and how often each occurs."""
        yield from sorted(self._counts.items())


@dataclass
class Book:
    """How often each id of one codebook was seen."""

    counts: NDArray[np.int64]

    @property
    def size(self) -> int:
        return int(self.counts.size)

    @property
    def seen(self) -> int:
        """Ids that were seen at all."""
        return int(np.count_nonzero(self.counts))

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())

    @property
    def entropy(self) -> float:
        """Bits a token by the frequencies that were counted: at most log2 of the size."""
        counts = self.counts[self.counts > 0].astype(np.float64)
        if not counts.size:
            return 0.0
        shares = counts / counts.sum()
        return abs(float(-(shares * np.log2(shares)).sum()))

    @property
    def perplexity(self) -> float:
        """2 to the entropy: as many ids, all as frequent, would have it."""
        return float(2.0**self.entropy)

    def ranks(self) -> NDArray[np.float64]:
        """Return the shares of all ids that were seen, the most frequent first."""
        counts = np.sort(self.counts[self.counts > 0])[::-1].astype(np.float64)
        return np.asarray(counts / max(1.0, float(counts.sum())))


@dataclass
class CodecTally:
    """What was seen of one codec."""

    name: str
    books: list[Book]
    lengths: Lengths = field(default_factory=Lengths)
    parts: int = 0


class Tally:
    """Counts the documents of rows that are shown to it.

    `soft` names the codecs of real-valued tokens, which have no codebooks.
    """

    def __init__(self, vocabulary: Vocabulary, soft: Iterable[str] = ()) -> None:
        sizes: dict[str, tuple[int, ...]] = {
            **{entry.name: entry.codebook_sizes for entry in vocabulary.entries},
            **dict.fromkeys(soft, ()),
        }
        self.codecs = {
            name: CodecTally(name, [Book(np.zeros(size, np.int64)) for size in own])
            for name, own in sizes.items()
        }
        self.whole = Lengths()
        self.documents, self.cut, self.unread = 0, 0, 0
        self._mixed = False

    def add(self, parts: Sequence[Tokens], *, whole: bool) -> None:
        """Count the parts of a document; of one that was cut, only the use of codebooks.

        Raises `KeyError` for a codec that is not in the data set.
        """
        sums: Counter[str] = Counter()
        for part in parts:
            codec = self.codecs[part.codec]
            codec.parts += 1
            for book, row in zip(codec.books, part.ids, strict=True):
                np.add.at(book.counts, row, 1)
            sums[part.codec] += token_count(part)
        if not whole:
            self.cut += 1
            return
        self.documents += 1
        self._mixed = self._mixed or len(sums) > 1
        self.whole.add(sum(sums.values()))
        for name, length in sums.items():
            self.codecs[name].lengths.add(length)

    def lengths(self) -> Iterator[tuple[str, Lengths]]:
        """Yield a name and the tokens an item, for each codec, and for items as a whole.

        The latter only where some item has parts of several codecs.
        """
        for name, codec in self.codecs.items():
            if codec.lengths.count:
                yield name, codec.lengths
        if self._mixed:
            yield WHOLE, self.whole


def counted_rows(rows: int, limit: int) -> tuple[int, Iterator[int]]:
    """Return how many rows are counted, at most `limit`, and their numbers, spread evenly.

    They come in runs of 64 neighbours, since many formats unpack neighbours together.
    """
    if rows <= limit:
        return rows, iter(range(rows))
    run = min(max(1, limit), _RUN)
    runs = max(1, limit // run)
    starts = (i * (rows - run) // max(1, runs - 1) for i in range(runs))
    return runs * run, (row for start in starts for row in range(start, start + run))
