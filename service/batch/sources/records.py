"""Records of tables: which of their columns are what, and the items that they make."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from omnicodec.codecs import InvalidInput, OmnicodecError, Unavailable
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.sources.base import SourceSpec
from omnicodec.service.batch.sources.interleaved import (
    MMC4,
    OBELICS,
    document_parts,
    mmc4_parts,
    obelics_parts,
)
from omnicodec.service.batch.sources.names import COLUMNS, DOCUMENT, FILE, KEY, shown
from omnicodec.service.batch.sources.values import Nearby, parts_of

_MOST_SCHEMAS: Final = 256
_LAYOUTS: Final[Mapping[tuple[str, str], Callable[[Any, Any, Nearby], Iterator[Part]]]] = {
    OBELICS: obelics_parts,
    MMC4: mmc4_parts,
}


@dataclass(frozen=True)
class Columns:
    """What columns are taken: `key` is a name or "", `layout` two columns that are a document."""

    media: tuple[tuple[str, str], ...]
    key: str = ""
    layout: tuple[str, str] | None = None

    @property
    def names(self) -> list[str]:
        """All columns that are read."""
        found = [name for name, _ in self.media] + list(self.layout or ())
        return [*found, self.key] if self.key else found


def choose(
    names: Sequence[str], given: Mapping[str, str], known: Mapping[str, str] | None = None
) -> Columns:
    """Return which of the columns there are are taken: the given ones, else what names tell.

    `known` are meanings that the file itself tells, which come before names.
    """
    if given:
        there = [(name, meaning) for name, meaning in given.items() if name in set(names)]
    else:
        told = known or {}
        there = [(n, m) for n in names if (m := told.get(n) or COLUMNS.get(n.lower(), ""))]
    key = next((name for name, meaning in there if meaning == KEY), "")
    media = [(name, meaning) for name, meaning in there if meaning != KEY]
    for layout in _LAYOUTS:
        if all(given.get(name) == DOCUMENT if given else name in names for name in layout) and set(
            layout
        ) <= set(names):
            rest = [pair for pair in media if pair[0] not in layout] if given else []
            return Columns(tuple(rest), key, layout)
    if given:
        return Columns(tuple(media), key)
    if any(meaning == DOCUMENT for _, meaning in media):  # its columns beside it are about it
        media = [pair for pair in media if pair[1] == DOCUMENT][:1]
    elif any(meaning not in (FILE, "text") for _, meaning in media):
        media = [pair for pair in media if pair[1] != FILE]
    return Columns(tuple(media), key)


class RecordReader:
    """Makes items of the records of one file."""

    def __init__(self, spec: SourceSpec, near: Nearby, name: str, shown_path: str) -> None:
        self._given, self.near = spec.columns, near
        self._stem = shown(posixpath.splitext(name)[0])
        self._path = shown_path
        self._known: dict[tuple[str, ...], Columns] = {}

    def columns(self, names: Sequence[str], known: Mapping[str, str] | None = None) -> Columns:
        """Return what is taken of records with these columns."""
        names = tuple(names)
        found = self._known.get(names)
        if found is None:
            if len(self._known) >= _MOST_SCHEMAS:
                self._known.clear()
            found = self._known[names] = choose(names, self._given, known)
        return found

    def position(self, place: str) -> str:
        """Return the position of a record, `place` such as "#17"."""
        return self._path + place

    def key(self, number: int) -> str:
        """Return the key of a record that has none of its own."""
        return f"{self._stem}-{number}"

    def item(
        self, record: Mapping[str, Any], columns: Columns, place: str, number: int
    ) -> Item | Reject:
        """Return the item that a record is, or why it is none."""
        position = self.position(place)
        key = self.key_of(record.get(columns.key) if columns.key else None, number)
        try:
            parts = tuple(self._parts(record, columns))
            if not parts:
                raise InvalidInput("nothing in it is text or media; its columns can be told")
        except Unavailable:  # a storage with files that records name: no fault of theirs
            raise
        except OmnicodecError as e:
            return Reject(position, key, type(e).__name__, str(e))
        except RecursionError:
            return Reject(position, key, InvalidInput.__name__, "nested too deeply")
        return Item(position, key, parts)

    def key_of(self, value: Any, number: int) -> str:
        """Return the key of a record whose column of keys holds this."""
        match value:
            case str():
                return clean(value)
            case None | bool():
                return self.key(number)
            case int():
                return str(value)
            case bytes():
                return value.decode("utf-8", "backslashreplace")
            case _:
                return self.key(number)

    def _parts(self, record: Mapping[str, Any], columns: Columns) -> list[Part]:
        parts: list[Part] = []
        total = 0
        for part in chain(self._document(record, columns), self._media(record, columns)):
            parts.append(part)
            total += len(part.data) if isinstance(part.data, bytes) else 0
            self.near.check(total)
        return parts

    def _document(self, record: Mapping[str, Any], columns: Columns) -> Iterator[Part]:
        if columns.layout is not None:
            first, second = columns.layout
            yield from _LAYOUTS[columns.layout](record[first], record[second], self.near)

    def _media(self, record: Mapping[str, Any], columns: Columns) -> Iterator[Part]:
        for name, meaning in columns.media:
            value = record.get(name)
            if meaning == DOCUMENT and value is not None:
                yield from document_parts(value, self.near, name)
            elif meaning != DOCUMENT:
                yield from parts_of(value, meaning, self.near, name)


def clean(text: str) -> str:
    r"""Return a text as UTF-8 can hold it: a lone surrogate as \udcff."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
