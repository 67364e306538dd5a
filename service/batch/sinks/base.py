"""What all sinks have in common: rows in, shards of files out, and rows back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import Tokens

Ids = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class RawRow:
    """An item as its codecs made it: layout `raw`."""

    key: str
    source: str
    parts: tuple[Tokens, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DocumentRow:
    """An item as a document of the vocabulary, int32 `(rows, N)`: layout `document`."""

    key: str
    source: str
    ids: Ids


@dataclass(frozen=True, slots=True, eq=False)
class PackedRow:
    """A sequence of fixed length L made of documents, or pieces of them: layout `packed`.

    `ids` is int32 `(rows, L)`; `positions`, int32 `(L,)`, counts from 0 in each document (a piece
    that goes on from another sequence counts on from there); `starts`, int32, holds where each
    document or piece begins, and where padding does, if there is any.
    """

    ids: Ids
    positions: Ids
    starts: Ids


Row = RawRow | DocumentRow | PackedRow

LAYOUTS = ("raw", "document", "packed")


class ShardWriter(ABC):
    """Writes the files of one shard."""

    @abstractmethod
    def write(self, row: Row) -> None:
        """Add a row."""

    @abstractmethod
    def close(self) -> None:
        """Finish all files. What was written depends on the rows alone."""

    @abstractmethod
    def abandon(self) -> None:
        """Close what is open; the files will be removed."""


class Sink(ABC):
    """One format. An instance is about one data set, `facts` as they stand in its manifest.

    `facts` has "layout" (one of `LAYOUTS`), "rows" and "size" of the vocabulary, "pad" (its
    padding id) and "length" of packed sequences; and "soft", `Job.soft`, where there is any.
    """

    name: ClassVar[str]
    layouts: ClassVar[tuple[str, ...]]
    """What it can store; the first is what it stores unless told."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = facts

    @property
    def soft_type(self) -> np.dtype[Any] | None:
        """The type of real-valued tokens, little-endian; None for a data set without."""
        bits = [found["bits"] for found in self.facts.get("soft", {}).values()]
        return np.dtype(f"<f{max(bits) // 8}") if bits else None

    @abstractmethod
    def open_shard(self, folder: Path, index: int) -> ShardWriter:
        """Return a writer of shard `index`, whose files are made in `folder`, an empty one.

        Their names are those that they will have in `data/` and differ from shard to shard.
        Nothing is written outside; a shard without rows has files as well, or none.
        """

    def finish(self, data: Path, shards: Sequence[Sequence[str]], temporary: Path) -> list[str]:
        """Write what spans all shards into `data`, atomically, by way of `temporary`.

        `shards` names the files of each shard, in order. Returns the names of all files that the
        data set has then; those of shards that are not among them are removed by the caller. It
        may have been ended at any moment before, and is then called again.
        """
        return [name for shard in shards for name in shard]

    @abstractmethod
    def open(self, data: Path, names: Sequence[str]) -> Rows:
        """Return the rows of a finished data set; raises `CorruptStream` for damaged files."""


class Rows(ABC):
    """The rows of a data set, in its order, each found without reading the others."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Row:
        """Return a row, 0 to `len - 1`; raises `IndexError` beyond, `CorruptStream` for damage."""

    def close(self) -> None:  # noqa: B027  # most have nothing to close
        """Close files; the object is of no use afterwards."""
