"""Reads a packed document: a small parser with exact error positions.

A document is parts, `part*`, between an optional `<|bos|>` and an optional `<|eos|>`:

    part   text ids                           which end where anything else stands
           <|text|> text ids                  behind another text, or for an empty one
           <|image|> size codes <|/image|>    the marks of each codec
    size   nothing                            for streams of one axis without an extent
           <|grid:h,w|>                       where that tells grid and extent
           <|extent|> digits <|,|> digits ... <|extent|>

There is one way to write each document. What is not written so is a problem, and reading can
go on behind it: at the end mark of the broken part where no other mark stands before that, or
else where the next part can begin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs.errors import InvalidInput
from omnicodec.codecs.tokens import Tokens
from omnicodec.codecs.vocabulary import special
from omnicodec.codecs.vocabulary.entry import VocabularyEntry
from omnicodec.codecs.vocabulary.patterns import BadLayout, Ids, take_up

if TYPE_CHECKING:
    from omnicodec.codecs.vocabulary.vocabulary import Vocabulary

_MAX_DIGITS: Final = (special.MAX_INTEGER.bit_length() + 7) // 8

# In place of an id that can stand nowhere, or not in this column: no part can begin with it.
_NOTHING: Final = special.COUNT


@dataclass(frozen=True, slots=True)
class FoundPart:
    """A well-formed part: columns `start` to `stop - 1` of a document, marks included."""

    tokens: Tokens
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Columns `start` to `stop - 1` of a document are no part, as `position` shows.

    `position` is the first one that cannot stand where it does, which may be `stop` where the end
    of a part is missing; where the document ends too early, it is the document's length.
    """

    position: int
    start: int
    stop: int
    reason: str
    name: str = ""

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"position {self.position}{name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `Vocabulary.recover` found.

    Every column of the document is in one part or in one problem, but for `<|bos|>` at its
    beginning and `<|eos|>` at its end.
    """

    parts: tuple[FoundPart, ...]
    problems: tuple[Problem, ...]

    @property
    def tokens(self) -> list[Tokens]:
        """The tokens of each part."""
        return [part.tokens for part in self.parts]


class _Malformed(Exception):
    """Nothing well-formed is here; reading may go on at `resume`, if that is known."""

    def __init__(self, reason: str, position: int, resume: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.position, self.resume = reason, position, resume


class DocumentReader:
    """One pass over the columns of a document, integers of shape `(rows, L)`."""

    def __init__(self, vocabulary: Vocabulary, columns: NDArray[np.integer]) -> None:
        self._vocabulary = vocabulary
        valid = (columns >= 0) & (columns < vocabulary.size)
        self._given = columns
        self._columns: Ids = np.where(valid, columns, -1).astype(np.int32)
        self._end = columns.shape[1]
        first = self._columns[0] - vocabulary.special_at  # special tokens count from 0 here
        flawed = ~valid[0]
        if columns.shape[0] > 1:
            holes = (self._columns[1:] == vocabulary.hole).all(axis=0)
            # A code may have others below it, and a hole codes that began earlier.
            flawed |= ~holes & (first < special.COUNT) & (first != special.HOLE)
        if vocabulary.unused is not None:
            texts = np.flatnonzero((first < 0) & valid[0])
            flawed[texts] |= vocabulary.unused[self._columns[0, texts]]
        first[flawed] = _NOTHING
        self._flawed = flawed
        self._first = first
        self._at = 0
        self._after_text: bool | None = False  # None behind a problem, where nobody knows
        self._parts: list[FoundPart] = []
        self._problems: list[Problem] = []

    def read(self) -> list[Tokens]:
        """Return the parts; raises `InvalidInput` with the first problem."""
        return self._read(lenient=False).tokens

    def recover(self) -> Recovered:
        """Return all parts that are well-formed, and what is between them."""
        return self._read(lenient=True)

    def _read(self, *, lenient: bool) -> Recovered:
        if self._end and self._first[0] == special.BOS:
            self._at = 1
        while self._at < self._end:
            begin = self._at
            token = int(self._first[begin])
            if token == special.EOS and begin == self._end - 1:
                break
            try:
                self._parts.append(FoundPart(self._part(token), begin, self._at))
                self._after_text = token < 0 or token == special.TEXT
            except _Malformed as e:
                problem = self._problem(begin, e)
                if not lenient:
                    raise InvalidInput(str(problem)) from None
                self._problems.append(problem)
                self._at, self._after_text = problem.stop, None
        return Recovered(tuple(self._parts), tuple(self._problems))

    def _problem(self, begin: int, error: _Malformed) -> Problem:
        resume = self._next_part(begin) if error.resume is None else error.resume
        at = error.position
        if at >= self._end:
            return Problem(at, begin, resume, error.reason)
        flaw, name = self._flaw(at)
        return Problem(at, begin, resume, flaw or error.reason, name)

    def _flaw(self, at: int) -> tuple[str, str]:
        """Return what is wrong with a column wherever it stands, if anything, and its name."""
        vocabulary = self._vocabulary
        for given in map(int, self._given[:, at]):
            if not 0 <= given < vocabulary.size:
                return f"id {given} is not in 0..{vocabulary.size - 1}", ""
        token = int(self._columns[0, at])
        name = vocabulary.name_of(token)
        if self._first[at] != _NOTHING or token >= vocabulary.special_at + special.COUNT:
            return "", name
        if token < vocabulary.special_at and vocabulary.is_unused(token):
            return f"this id stands for nothing in {vocabulary.entries[0].name}", name
        return "only codes stand below the first row", name

    def _part(self, token: int) -> Tokens:
        if token < 0:
            return self._text()
        if token == special.TEXT:
            mark = self._at
            self._at += 1
            text = self._text()
            if len(text) and self._after_text is False:
                raise _Malformed("this text needs no mark", mark, mark + 1)
            return text
        index, is_end = divmod(token - special.MARKS_AT, 2)
        if 0 <= index < len(self._vocabulary.entries) - 1 and not is_end:
            return self._media(index + 1)
        raise _Malformed("no part can begin here", self._at)

    def _text(self) -> Tokens:
        """Read text ids up to whatever is none."""
        entry = self._vocabulary.entries[0]
        stop = _next(self._not_text, self._at, self._end)
        ids = self._columns[:1, self._at : stop].copy()
        self._at = stop
        return Tokens(entry.name, entry.fingerprint, ids, (ids.shape[1],))

    def _media(self, index: int) -> Tokens:
        """Read a begin mark, the size, the codes and the end mark."""
        entry = self._vocabulary.entries[index]
        begin = self._at
        stop = _next(self._marks, begin + 1, self._end)
        end_mark = special.MARKS_AT + 2 * (index - 1) + 1
        framed = stop < self._end and self._first[stop] == end_mark
        resume = stop + 1 if framed else None
        try:
            self._at += 1
            size = self._size(entry)
            if not framed:
                at = self._breaks_off(begin, stop)
                raise _Malformed(f"this part of {entry.name} has no end mark", at)
            tokens = self._codes(index, self._at, stop, size)
        except _Malformed as e:
            raise _Malformed(e.reason, e.position, resume) from None
        self._at = stop + 1
        return tokens

    def _breaks_off(self, begin: int, stop: int) -> int:
        """Return where a part without an end mark ends: at what is no code, or `begin`.

        The latter is for a document that ends with its codes, which shows nothing.
        """
        first = self._first[self._at : stop]
        wrong = np.flatnonzero((first < special.COUNT) & (first != special.HOLE))
        flawed = np.flatnonzero(self._flawed[self._at : stop])
        found = [self._at + int(each[0]) for each in (wrong, flawed) if each.size]
        return min(found, default=stop if stop < self._end else begin)

    def _codes(
        self, index: int, start: int, stop: int, size: tuple[tuple[int, ...], dict[str, int]] | None
    ) -> Tokens:
        vocabulary = self._vocabulary
        entry = vocabulary.entries[index]
        books = len(entry.codebook_sizes)
        try:
            ids = take_up(self._columns[:, start:stop], vocabulary.pattern, books, vocabulary.hole)
        except BadLayout as e:
            raise _Malformed(str(e), start + e.step) from e
        starts, stops = vocabulary.code_ranges(index)
        wrong = np.argwhere((ids < starts) | (ids >= stops))
        if wrong.size:
            places = [(self._place(int(n), int(book), books), int(book)) for book, n in wrong]
            place, book = min(places)
            raise _Malformed(f"no code of codebook {book} of {entry.name}", start + place)
        grid, extent = size or ((ids.shape[1],), {})
        needed = math.prod(grid)
        if needed != ids.shape[1]:
            surplus = start + self._place(needed, 0, books) if needed < ids.shape[1] else stop
            raise _Malformed(f"a grid of {grid} needs {needed} codes, not {ids.shape[1]}", surplus)
        return Tokens(entry.name, entry.fingerprint, ids - starts, grid, extent)

    def _size(self, entry: VocabularyEntry) -> tuple[tuple[int, ...], dict[str, int]] | None:
        if entry.grid_rank == 1 and not entry.extent:
            return None
        token = self._peek()
        grid = special.grid_of(token)
        if entry.grid_rank == 2 and grid is not None:
            extent = entry.full_extent(grid)
            if extent is None:
                raise self._error(f"a grid token does not tell the size of {entry.name}")
            self._at += 1
            return grid, extent
        if token != special.EXTENT:
            raise self._error(f"the size of a part of {entry.name} should stand here")
        begin = self._at
        values = self._integers()
        rank = entry.grid_rank
        if len(values) != rank + len(entry.extent):
            raise _Malformed(
                f"{entry.name} has {rank + len(entry.extent)} sizes, not {len(values)}", begin
            )
        extent = dict(zip(entry.extent, values[rank:], strict=True))
        told_by_one = rank == 2 and entry.full_extent(values[:rank]) == extent
        if told_by_one and special.grid_token(*values[:rank]) is not None:
            raise _Malformed("this size has a token of its own", begin)
        return tuple(values[:rank]), extent

    def _integers(self) -> list[int]:
        """Read `<|extent|> digits <|,|> digits ... <|extent|>`."""
        self._at += 1
        values: list[int] = []
        digits: list[int] = []
        while True:
            token = self._peek()
            if special.DIGITS_AT <= token < special.GRIDS_AT and len(digits) < _MAX_DIGITS:
                digits.append(token - special.DIGITS_AT)
            elif token in (special.COMMA, special.EXTENT) and digits:
                if digits[0] == 0 and len(digits) > 1:
                    raise self._error("an integer begins with a zero", self._at - len(digits))
                values.append(int.from_bytes(bytes(digits), "big"))
                digits = []
            else:
                raise self._error("no integer can go on here")
            self._at += 1
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
        if self._at >= self._end:
            raise self._error("the document ends too early")
        return int(self._first[self._at])

    def _error(self, reason: str, at: int | None = None) -> _Malformed:
        return _Malformed(reason, self._at if at is None else at)

    def _next_part(self, after: int) -> int:
        """Return the next column at which a part can begin, or the end of the document."""
        at = _next(self._beginnings, after + 1, self._end)
        is_eos = self._end and self._first[-1] == special.EOS and after < self._end - 1
        return min(at, self._end - 1) if is_eos else at

    @cached_property
    def _not_text(self) -> NDArray[np.intp]:
        return np.flatnonzero(self._first >= 0)

    @cached_property
    def _marks(self) -> NDArray[np.intp]:
        stop = special.MARKS_AT + 2 * (len(self._vocabulary.entries) - 1)
        return np.flatnonzero((self._first >= special.MARKS_AT) & (self._first < stop))

    @cached_property
    def _beginnings(self) -> NDArray[np.intp]:
        begins = self._marks[(self._first[self._marks] - special.MARKS_AT) % 2 == 0]
        texts = np.flatnonzero((self._first < 0) | (self._first == special.TEXT))
        return np.union1d(begins, texts)


def _next(places: NDArray[np.intp], at: int, end: int) -> int:
    """Return the first of sorted places from `at` on; `end` if there is none."""
    index = int(np.searchsorted(places, at))
    return int(places[index]) if index < places.size else end
