"""Rows back to documents, and documents back to tokens: the inverse of `layout`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from omnicodec.codecs import InvalidInput, Tokens
from omnicodec.codecs.vocabulary import Vocabulary
from omnicodec.service.batch.packing import WINDOW
from omnicodec.service.batch.sinks.base import DocumentRow, Ids, PackedRow, RawRow, Row


@dataclass(frozen=True, slots=True)
class Document:
    """An item as it comes back.

    `whole` is False for a piece of a document that packing has cut; `parts` are then those that
    lie in the piece. `problems` tell, a line each, what was not recovered. Packed sequences keep
    neither `key` nor `source`.
    """

    parts: tuple[Tokens, ...]
    key: str = ""
    source: str = ""
    whole: bool = True
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A document in a packed sequence, or a piece of it: `ids` of shape `(rows, N)`.

    `first` is the position in its document that it begins at, and `open` says whether it ends
    where its sequence does, so that the document may go on in another.
    """

    ids: Ids
    first: int
    open: bool


def pieces(row: PackedRow, pad: int) -> list[Piece]:
    """Return what a packed sequence consists of, without the padding at its end."""
    length = row.ids.shape[1]
    bounds = [*row.starts.tolist(), length]
    found = [
        Piece(row.ids[:, start:stop], int(row.positions[start]), stop == length)
        for start, stop in pairwise(bounds)
    ]
    # A column of a document is never padding throughout.
    if found and (found[-1].ids[:, 0] == pad).all():
        found.pop()
    return found


def documents(row: Row, vocabulary: Vocabulary) -> list[Document]:
    """Return the documents of one row, of any layout; never raises for what a row may hold.

    Pieces of documents that packing has cut are given as far as they go; `joined` has them whole.
    """
    if isinstance(row, RawRow):
        return [Document(row.parts, row.key, row.source)]
    if isinstance(row, DocumentRow):
        return [_document(row.ids, vocabulary, row.key, row.source)]
    found = pieces(row, vocabulary.pad)
    return [
        _document(
            piece.ids,
            vocabulary,
            # What fills its sequence to the end may still be whole: its eos tells.
            whole=not piece.first and not (piece.open and _cut(piece.ids, vocabulary)),
        )
        for piece in found
    ]


def joined(rows: Iterable[Row], vocabulary: Vocabulary) -> Iterator[Document]:
    """Yield the documents of rows in their order, those that packing has cut as they were.

    All rows of a data set, or of some of its shards, give each document once and whole. Of rows
    from the middle, a piece whose beginning is missing is not whole. Those packed best-fit come
    in another order than they were packed in.
    """
    pending = _Pending()
    for row in rows:
        if not isinstance(row, PackedRow):
            yield from documents(row, vocabulary)
            continue
        for ids, whole in pending.take(row, vocabulary.pad):
            yield _document(ids, vocabulary, whole=whole)
    for ids, whole in pending.rest():
        yield _document(ids, vocabulary, whole=whole)


class _Pending:
    """Documents that ended with their sequence, and may go on in one that follows.

    It is as `packing` has it: a sequence that is one piece goes on from the last of them; another
    that begins or ends documents goes on from the last ones, in order, and those before are done.
    """

    def __init__(self) -> None:
        self._held: list[_Growing] = []

    def take(self, row: PackedRow, pad: int) -> Iterator[tuple[Ids, bool]]:
        """Take a sequence; yields documents that are done, and whether they are whole."""
        found = pieces(row, pad)
        if len(found) == 1 and found[0].open:
            piece = found[0]
            if piece.first and self._held and self._held[-1].size == piece.first:
                self._held[-1].add(piece)
            else:
                self._held.append(_Growing(piece))
            yield from self._surplus()
            return
        going_on = sum(piece.first > 0 for piece in found)
        split = max(0, len(self._held) - going_on)
        for growing in self._held[:split]:
            yield growing.done()
        waiting = self._held[split:]
        self._held = []
        for piece in found:
            # Those of which the rest is missing are passed over.
            while piece.first and waiting and waiting[0].size != piece.first:
                yield waiting.pop(0).done()
            if piece.first and waiting:
                growing = waiting.pop(0)
                growing.add(piece)
            else:
                growing = _Growing(piece)
            if piece.open:
                self._held.append(growing)
            else:
                yield growing.done()
        for growing in waiting:
            yield growing.done()

    def rest(self) -> Iterator[tuple[Ids, bool]]:
        for growing in self._held:
            yield growing.done()

    def _surplus(self) -> Iterator[tuple[Ids, bool]]:
        """Yield the first ones when they are more than one window of best-fit packing holds.

        Without this, documents that are just one sequence long would all be held to the end.
        """
        sizes = [growing.nbytes for growing in self._held]
        total, largest = sum(sizes), max(sizes, default=0)
        while total - largest > WINDOW_BYTES:
            growing = self._held.pop(0)
            total -= growing.nbytes
            yield growing.done()


WINDOW_BYTES = 4 * WINDOW


class _Growing:
    """A document that is put together from its pieces."""

    def __init__(self, piece: Piece) -> None:
        self._pieces = [piece.ids]
        self._begins = not piece.first
        self.size = piece.first + piece.ids.shape[1]
        self.nbytes = piece.ids.nbytes

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece.ids)
        self.size += piece.ids.shape[1]
        self.nbytes += piece.ids.nbytes

    def done(self) -> tuple[Ids, bool]:
        return np.concatenate(self._pieces, axis=1), self._begins


def _document(
    ids: Ids, vocabulary: Vocabulary, key: str = "", source: str = "", *, whole: bool = True
) -> Document:
    try:
        return Document(tuple(vocabulary.unpack(ids)), key, source, whole)
    except InvalidInput:
        found = vocabulary.recover(ids)
        problems = tuple(map(str, found.problems))
        return Document(tuple(found.tokens), key, source, whole, problems)


def _cut(ids: Ids, vocabulary: Vocabulary) -> bool:
    """Return whether a document is not known to end here: its last column holds no eos."""
    return not (ids[:, -1] == vocabulary.special_tokens["<|eos|>"]).any()
