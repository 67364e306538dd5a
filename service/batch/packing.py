"""Documents packed into sequences of one fixed length, with their boundaries and positions kept.

    concatenate    documents end to end, cut wherever a sequence is full: nothing is wasted, and
                   many documents are cut
    best-fit       only documents longer than a sequence are cut, and what is left of them and all
                   others are put where the least room remains: best-fit decreasing, as in Ding et
                   al. 2024, "Fewer Truncations Improve Language Modeling", arXiv:2404.10830

Both are exactly undone by `unpack.joined`: positions tell which piece goes on from which.

Of best-fit packing, sequences come in the order of the first documents that are in them, and
documents within a sequence in their own. The full pieces of a long document come one after
another, followed by those of others that end in the same sequence, and by that sequence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from omnicodec.codecs import InvalidInput
from omnicodec.service.batch.sinks.base import Ids, PackedRow

PACKINGS: Final = ("best-fit", "concatenate")

WINDOW: Final = 1 << 24
"""Ids of documents that best-fit packing has in memory, and chooses among, at a time."""

_SEQUENCES: Final = 256  # or so many sequences, where those are long


@dataclass(slots=True)
class Figures:
    """What packing has done. `tokens` and `padding` are positions, of all rows at once.

    `cut` counts the documents that are in more than one piece.
    """

    documents: int = 0
    sequences: int = 0
    pieces: int = 0
    tokens: int = 0
    padding: int = 0
    cut: int = 0

    def to_json(self) -> dict[str, int]:
        return asdict(self)


class Packer(ABC):
    """Takes documents of shape `(rows, N)` and gives sequences of shape `(rows, length)`.

    Raises `InvalidInput` for a length below 1.
    """

    def __init__(self, length: int, rows: int, pad: int) -> None:
        if length < 1:
            raise InvalidInput(f"sequences have a length of 1 or more, not {length}")
        self._length, self._rows, self._pad = length, rows, pad
        self.figures = Figures()

    @abstractmethod
    def add(self, document: Ids) -> list[PackedRow]:
        """Take a document; returns the sequences that are full with it."""

    @abstractmethod
    def flush(self) -> list[PackedRow]:
        """Return what is left, padded."""

    def _sequence(self, pieces: Iterable[tuple[Ids, int]]) -> PackedRow:
        """Return a sequence of pieces, each with the position in its document that it begins at."""
        ids = np.full((self._rows, self._length), self._pad, np.int32)
        starts: list[int] = []
        shifts: list[int] = []
        at = 0
        for piece, first in pieces:
            starts.append(at)
            shifts.append(first - at)
            ids[:, at : at + piece.shape[1]] = piece
            at += piece.shape[1]
        self.figures.sequences += 1
        self.figures.pieces += len(starts)
        self.figures.tokens += at
        self.figures.padding += self._length - at
        if at < self._length:
            starts.append(at)
            shifts.append(-at)
        lengths = np.diff([*starts, self._length])
        positions = np.arange(self._length) + np.repeat(shifts, lengths)
        return PackedRow(ids, positions.astype(np.int32), np.array(starts, np.int32))


class Concatenate(Packer):
    """Documents end to end, cut where a sequence is full."""

    def __init__(self, length: int, rows: int, pad: int) -> None:
        super().__init__(length, rows, pad)
        self._pieces: list[tuple[Ids, int]] = []
        self._used = 0

    def add(self, document: Ids) -> list[PackedRow]:
        done: list[PackedRow] = []
        size = document.shape[1]
        at = 0
        while at < size:
            end = min(size, at + self._length - self._used)
            self._pieces.append((document[:, at:end], at))
            self._used += end - at
            if end < size and not at:
                self.figures.cut += 1
            at = end
            if self._used == self._length:
                done += self.flush()
        self.figures.documents += 1
        return done

    def flush(self) -> list[PackedRow]:
        if not self._pieces:
            return []
        row = self._sequence(self._pieces)
        self._pieces, self._used = [], 0
        return [row]


class BestFit(Packer):
    """Best-fit decreasing among as many documents as a window holds."""

    def __init__(self, length: int, rows: int, pad: int, window: int = WINDOW) -> None:
        super().__init__(length, rows, pad)
        self._window = max(window, _SEQUENCES * length * rows)
        self._documents: list[Ids] = []
        self._held = 0

    def add(self, document: Ids) -> list[PackedRow]:
        self.figures.documents += 1
        if document.shape[1]:
            self._documents.append(document)
            self._held += document.size
        return self.flush() if self._held >= self._window else []

    def flush(self) -> list[PackedRow]:
        documents, self._documents, self._held = self._documents, [], 0
        length = self._length
        rests = [i for i, document in enumerate(documents) if document.shape[1] % length]
        bins = best_fit([documents[i].shape[1] % length for i in rests], length)
        # Documents that share a last sequence; one that fills its own has none.
        groups = [(sorted(rests[i] for i in members), True) for members in bins]
        groups += [([i], False) for i, d in enumerate(documents) if not d.shape[1] % length]
        out: list[PackedRow] = []
        for members, has_rest in sorted(groups):
            last: list[tuple[Ids, int]] = []
            for i in members:
                document = documents[i]
                full = document.shape[1] // length * length
                for at in range(0, full, length):
                    out.append(self._sequence([(document[:, at : at + length], at)]))
                if has_rest:
                    last.append((document[:, full:], full))
                self.figures.cut += document.shape[1] > length
            if last:
                out.append(self._sequence(last))
        return out


def best_fit(sizes: Sequence[int], length: int) -> list[list[int]]:
    """Return which of the sizes, 1 to `length` each, share a bin of that length.

    The largest are placed first, each where it leaves the least room; a new bin is begun only
    where there is none with enough.
    """
    bins: list[list[int]] = []
    rooms: list[int] = []  # different sizes of room that some bin has, ascending
    having: dict[int, list[int]] = {}  # bins with so much room
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        size = sizes[i]
        at = bisect_left(rooms, size)
        if at == len(rooms):
            room, chosen = length, len(bins)
            bins.append([])
        else:
            room = rooms[at]
            chosen = having[room].pop()
            if not having[room]:
                del rooms[at], having[room]
        bins[chosen].append(i)
        left = room - size
        if left in having:
            having[left].append(chosen)
        elif left:
            having[left] = [chosen]
            insort(rooms, left)
    return bins


def open_packer(packing: str, length: int, rows: int, pad: int) -> Packer:
    """Return the packer of that name; raises `InvalidInput` for another than `PACKINGS`."""
    kinds: dict[str, type[Packer]] = {"best-fit": BestFit, "concatenate": Concatenate}
    if packing not in kinds:
        raise InvalidInput(f"unknown packing {packing!r}; known: {', '.join(PACKINGS)}")
    return kinds[packing](length, rows, pad)
