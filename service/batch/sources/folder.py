"""Folders of files: each is an item, or those of one name and several suffixes are."""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from omnicodec.codecs import (
    MODALITIES,
    InvalidInput,
    LimitExceeded,
    OmnicodecError,
    Unavailable,
)
from omnicodec.service.batch.documents import Item, Part, Reject
from omnicodec.service.batch.sources.base import Slice, Source, SourceSpec
from omnicodec.service.batch.sources.location import Location
from omnicodec.service.batch.sources.names import check_columns, modality_of, shown
from omnicodec.service.batch.sources.storage import LINKED_FOLDER, OUTSIDE, Found, unreadable

_Group = list[Found]
_MOST_FILES: Final = 1 << 16


class FolderSource(Source):
    """Files below a folder or of a glob: a folder's own before those of its folders, sorted.

    With `columns`, suffixes without a dot, files that differ only in those suffixes are one item,
    its parts in the order of the columns; other files are no items.
    """

    def __init__(self, spec: SourceSpec, number: int) -> None:
        super().__init__(spec, number)
        check_columns(spec.columns, frozenset(MODALITIES))
        if spec.modality and spec.modality not in MODALITIES:
            known = ", ".join(sorted(MODALITIES))
            raise InvalidInput(f"no modality {spec.modality!r}; known: {known}")
        self.location = Location(spec.location)
        self._top = posixpath.join(os.path.realpath(self.location.root or "."), "")
        ends = {"." + name.lower().lstrip("."): what for name, what in spec.columns.items()}
        self._ranks = {end: rank for rank, end in enumerate(ends)}
        # The longest end that fits is a file's: of ".png" and ".seg.png" the second.
        self._ends = sorted(ends.items(), key=lambda pair: -len(pair[0]))

    def _end(self, name: str) -> str:
        lower = name.lower()
        return next((end for end, _ in self._ends if lower.endswith(end)), "")

    def _stem(self, name: str) -> str:
        return name[: len(name) - len(self._end(name))]

    def _modality(self, name: str) -> str:
        if self._ends:
            return next((what for end, what in self._ends if name.lower().endswith(end)), "")
        return modality_of(name) or self.spec.modality

    def _groups(self) -> Iterator[_Group]:
        """Yield the files of each item."""
        chosen = (
            found
            for found in self.location.files()
            if self.location.named or found.folder or self._modality(found.name)
        )
        if not self._ends:
            yield from ([found] for found in chosen)
            return
        for _, files in groupby(chosen, lambda found: posixpath.dirname(found.name)):
            # In the order of names, "a.b.jpg" stands between "a.jpg" and "a.txt".
            folder = sorted(files, key=lambda found: os.fsencode(self._stem(found.name)))
            for _, group in groupby(folder, lambda found: self._stem(found.name)):
                yield list(group)

    def slices(self, items: int, nbytes: int) -> Iterator[Slice]:
        names: list[str] = []
        count = size = 0
        empty = True
        for group in self._groups():
            empty = False
            weight = sum(found.nbytes for found in group)
            full = count >= items or size + weight > nbytes or len(names) >= _MOST_FILES
            if names and full:
                yield Slice(self.number, "", 0, count, count, size, tuple(names))
                names, count, size = [], 0, 0
            names += [found.name for found in group]
            count, size = count + 1, size + weight
        if names:
            yield Slice(self.number, "", 0, count, count, size, tuple(names))
        if empty:
            raise InvalidInput(f"{self.spec.location!r} has no files of a known kind")

    def read(self, piece: Slice) -> Iterator[Item | Reject]:
        if not self._ends:
            for name in piece.files:
                yield self._item((name,), posixpath.splitext(name)[0], self.location.shown(name))
            return
        for stem, names in groupby(piece.files, self._stem):
            yield self._item(names, stem, self.location.shown(stem))

    def _item(self, names: Iterable[str], stem: str, position: str) -> Item | Reject:
        key = shown(stem)
        parts: list[tuple[int, Part]] = []
        total = 0
        try:
            for name in names:
                total += self._size(name)
                if self.max_bytes is not None and total > self.max_bytes:
                    raise LimitExceeded(f"{total:,} bytes are over the limit of {self.max_bytes:,}")
                parts.append((self._ranks.get(self._end(name), 0), self._part(name)))
        except Unavailable:
            raise
        except OmnicodecError as e:
            return Reject(position, key, type(e).__name__, str(e))
        if len({rank for rank, _ in parts}) < len(parts):
            return Reject(position, key, InvalidInput.__name__, "two files of one suffix")
        parts.sort(key=lambda pair: pair[0])
        return Item(position, key, tuple(part for _, part in parts))

    def _part(self, name: str) -> Part:
        modality = self._modality(name)
        if not modality:
            raise InvalidInput(f"{shown(name)!r}: the file's name does not tell its modality")
        path = self.location.path(name)
        local = self.location.storage.local(path)
        return Part(
            modality, self.location.storage.read(path) if local is None else local, shown(name)
        )

    def _size(self, name: str) -> int:
        """Return the size of a file; raises `InvalidInput` for what is not to be read."""
        path = self.location.path(name)
        if self.location.storage.local(path) is None:
            found = self.location.storage.status(path)
            if found is None:
                raise InvalidInput(f"cannot read {shown(path)!r}: No such file or directory")
            return found.nbytes
        try:
            facts = os.lstat(path)
            if stat.S_ISLNK(facts.st_mode):
                if not self.location.named:
                    self._check_link(path)
                facts = Path(path).stat()
        except (OSError, ValueError) as e:
            raise unreadable(shown(path), e) from e
        if not stat.S_ISREG(facts.st_mode):
            folder = stat.S_ISDIR(facts.st_mode)
            raise InvalidInput("a folder that cannot be read" if folder else "not a regular file")
        return facts.st_size

    def _check_link(self, path: str) -> None:
        if Path(path).is_dir():
            raise InvalidInput(LINKED_FOLDER)
        if not os.path.realpath(path).startswith(self._top):
            raise InvalidInput(OUTSIDE)
