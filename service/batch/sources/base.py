"""What all sources have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from omnicodec.service.batch.documents import Item, Reject


@dataclass(frozen=True, kw_only=True)
class SourceSpec:
    """A source as a job names it: a location, and how to read what is there.

    `location` is a path, a glob or a URL that fsspec knows; `kind` one of `sources.KINDS`, or
    empty for what the location tells. `columns` maps a column or member of a record to what it is,
    in the order of an item's parts: a modality, "document" for a list of parts, "file" for the name
    of a file nearby, or "key"; without it the names tell. `modality` is that of files whose names
    do not tell.
    """

    location: str
    kind: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    modality: str = ""

    def to_json(self) -> dict[str, Any]:
        # The order of columns is that of parts, and sorting keys must not lose it.
        return {**asdict(self), "columns": [list(pair) for pair in self.columns.items()]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SourceSpec:
        return cls(**{**value, "columns": dict(value.get("columns", {}))})


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of a source: items `start` to `stop` of one file, in units of that source's own.

    `files` are those of a slice of a folder, which has no `path`. `items` is how many there are,
    None where only reading tells, and `nbytes` about how much is read.
    """

    source: int
    path: str
    start: int
    stop: int
    items: int | None
    nbytes: int
    files: tuple[str, ...] = ()

    def to_json(self) -> list[Any]:
        return [
            self.source,
            self.path,
            self.start,
            self.stop,
            self.items,
            self.nbytes,
            list(self.files),
        ]

    @classmethod
    def from_json(cls, value: list[Any]) -> Slice:
        source, path, start, stop, items, nbytes, files = value
        return cls(source, path, start, stop, items, nbytes, tuple(files))


class Source(ABC):
    """Items in an order that never changes, cut into slices before any is read."""

    max_bytes: int | None = None
    """The largest item that is read; larger ones are rejects, unread where their size is known."""

    def __init__(self, spec: SourceSpec, number: int) -> None:
        self.spec, self.number = spec, number

    @abstractmethod
    def slices(self, items: int, nbytes: int) -> Iterator[Slice]:
        """Yield slices of about so many items and bytes at most, in the source's order.

        Nothing but names, sizes and indexes is read. Raises `InvalidInput` for a source that is
        not there or not what it should be, and `Unavailable` for a library that is missing.
        """

    @abstractmethod
    def read(self, piece: Slice) -> Iterator[Item | Reject]:
        """Yield each item of a slice, in its order, or why it cannot be read.

        A slice with `items` yields exactly so many, whatever has become of its file since: what
        cannot be read any more is a reject. Only as much is in memory as one item needs. A file
        that cannot be opened at all is one reject where the number is not known.
        """
