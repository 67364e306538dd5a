"""Reads a packed document: a small parser with exact error positions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.vocabulary import special
from omnicodec.codecs.vocabulary.patterns import Ids, take_up

if TYPE_CHECKING:
    from omnicodec.codecs.vocabulary.vocabulary import Vocabulary, VocabularyEntry

# The largest integer in an extent has 8 digits of 8 bits; more is not a size of anything.
_MAX_DIGITS = 7


class DocumentReader:
    """One pass over the columns of a document, ids known to be in range."""

    def __init__(self, vocabulary: Vocabulary, columns: Ids) -> None:
        self._vocabulary = vocabulary
        self._columns = columns
        self._first = columns[0] - vocabulary.special_at  # special tokens count from 0 here
        self._holes = (columns[1:] == vocabulary.hole).all(axis=0)
        self._at = 0

    def read(self) -> list[Tokens]:
        parts: list[Tokens] = []
        end = self._columns.shape[1]
        if end and self._first[0] == special.BOS:
            self._step()
        after_text = False
        while self._at < end:
            token = int(self._first[self._at])
            if token == special.EOS and self._at == end - 1:
                self._step()
                break
            index, is_end = divmod(token - special.MARKS_AT, 2)
            if token < 0:
                parts.append(self._text())
                after_text = True
            elif token == special.TEXT:
                mark = self._at
                self._step()
                parts.append(self._text())
                if len(parts[-1]) and not after_text:
                    raise self._error("this text needs no mark", mark)
                after_text = True
            elif (
                special.MARKS_AT <= token < special.COUNT
                and not is_end
                and index + 1 < len(self._vocabulary.entries)
            ):
                parts.append(self._media(index + 1))
                after_text = False
            else:
                raise self._error("no part can begin here")
        return parts

    def _text(self) -> Tokens:
        """Read text ids up to whatever is none."""
        entry = self._vocabulary.entries[0]
        others = np.flatnonzero(self._first[self._at :] >= 0)
        stop = self._at + int(others[0]) if others.size else self._columns.shape[1]
        self._only_first_row(self._at, stop)
        ids = self._columns[:1, self._at : stop].copy()
        self._at = stop
        return Tokens(entry.name, entry.fingerprint, ids, (ids.shape[1],))

    def _media(self, index: int) -> Tokens:
        """Read a begin mark, the size, the codes and the end mark."""
        vocabulary = self._vocabulary
        entry = vocabulary.entries[index]
        begin = self._at
        self._step()
        size = self._size(entry)
        end_mark = special.MARKS_AT + 2 * (index - 1) + 1
        ends = np.flatnonzero(self._first[self._at :] == end_mark)
        if not ends.size:
            raise self._error(f"this part of {entry.name} has no end mark", begin)
        start, stop = self._at, self._at + int(ends[0])
        columns = self._columns[:, start:stop]
        books = len(entry.codebook_sizes)
        try:
            ids = take_up(columns, vocabulary.pattern, books, vocabulary.hole)
        except InvalidInput as e:
            raise self._error(str(e), start) from e
        for book in range(books):
            allowed = vocabulary.id_range(entry.name, book)
            wrong = np.flatnonzero((ids[book] < allowed.start) | (ids[book] >= allowed.stop))
            if wrong.size:
                at = self._place(int(wrong[0]), book, books) + start
                raise self._error(f"no code of codebook {book} of {entry.name}", at)
            ids[book] -= allowed.start
        grid, extent = size or ((ids.shape[1],), {})
        if math.prod(grid) != ids.shape[1]:
            raise self._error(
                f"a grid of {grid} needs {math.prod(grid)} codes, not {ids.shape[1]}", start
            )
        self._at = stop
        self._step()
        return Tokens(entry.name, entry.fingerprint, ids, grid, extent)

    def _size(self, entry: VocabularyEntry) -> tuple[tuple[int, ...], dict[str, int]] | None:
        if entry.grid_rank == 1 and not entry.extent:
            return None
        token = self._peek()
        grid = special.grid_of(token)
        if entry.grid_rank == 2 and grid is not None:
            extent = entry.full_extent(grid)
            if extent is None:
                raise self._error(f"a grid token does not tell the size of {entry.name}")
            self._step()
            return grid, extent
        if token != special.EXTENT:
            raise self._error(f"the size of a part of {entry.name} should stand here")
        begin = self._at
        values = self._integers()
        rank = entry.grid_rank
        if len(values) != rank + len(entry.extent):
            raise self._error(
                f"{entry.name} has {rank + len(entry.extent)} sizes, not {len(values)}", begin
            )
        extent = dict(zip(entry.extent, values[rank:], strict=True))
        told_by_one = rank == 2 and entry.full_extent(values[:rank]) == extent
        if told_by_one and special.grid_token(*values[:rank]) is not None:
            raise self._error("this size has a token of its own", begin)
        return tuple(values[:rank]), extent

    def _integers(self) -> list[int]:
        """Read `<|extent|> digits <|,|> digits ... <|extent|>`."""
        self._step()
        values: list[int] = []
        digits: list[int] = []
        while True:
            token = self._peek()
            if special.DIGITS_AT <= token < special.GRIDS_AT and len(digits) < _MAX_DIGITS:
                digits.append(token - special.DIGITS_AT)
            elif token in (special.COMMA, special.EXTENT) and digits:
                if digits[0] == 0 and len(digits) > 1:
                    raise self._error("an integer begins with a zero")
                values.append(int.from_bytes(bytes(digits), "big"))
                digits = []
            else:
                raise self._error("no integer can go on here")
            self._step()
            if token == special.EXTENT:
                return values

    def _place(self, position: int, book: int, books: int) -> int:
        """Return the step at which a code stands, counted from the first one."""
        return {
            "flat": position * books + book,
            "parallel": position,
            "delay": position + book,
        }[self._vocabulary.pattern]

    def _peek(self) -> int:
        if self._at >= self._columns.shape[1]:
            raise self._error("the document ends too early")
        return int(self._first[self._at])

    def _step(self) -> None:
        self._only_first_row(self._at, self._at + 1)
        self._at += 1

    def _only_first_row(self, start: int, stop: int) -> None:
        wrong = np.flatnonzero(~self._holes[start:stop])
        if wrong.size:
            raise self._error("only codes stand below the first row", start + int(wrong[0]))

    def _error(self, why: str, at: int | None = None) -> InvalidInput:
        place = self._at if at is None else at
        if place < self._columns.shape[1]:
            name = self._vocabulary.name_of(int(self._columns[0, place]))
            return InvalidInput(f"position {place} ({name}): {why}")
        return InvalidInput(f"position {place}: {why}")
