"""Sources that are files of many items each: what tars and tables have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from omnicodec.codecs import InvalidInput, OmnicodecError, Unavailable
from omnicodec.service.batch.documents import Item, Reject
from omnicodec.service.batch.sources.base import Slice, Source, SourceSpec
from omnicodec.service.batch.sources.location import Location
from omnicodec.service.batch.sources.storage import OUTSIDE, Found


class FilesSource(Source):
    """Files one after the other, each cut into slices of its own."""

    suffixes: ClassVar[tuple[str, ...]]
    """Of the files that are taken from a folder."""

    def __init__(self, spec: SourceSpec, number: int) -> None:
        super().__init__(spec, number)
        self.location = Location(spec.location)

    def files(self) -> Iterator[Found]:
        """Yield the files to be read, in order; raises `InvalidInput` where there are none."""
        any_name = self.location.named or (self.location.is_pattern and bool(self.spec.kind))
        count = 0
        for found in self.location.files():
            chosen = any_name or found.name.lower().endswith(self.suffixes)
            count += chosen
            if chosen or found.folder:
                # Downloaded data sets are folders of links into a cache: those are followed.
                yield replace(found, problem="") if found.problem == OUTSIDE else found
        if not count:
            wanted = ", ".join(self.suffixes)
            raise InvalidInput(f"{self.spec.location!r} has no files of this kind ({wanted})")

    def slices(self, items: int, nbytes: int) -> Iterator[Slice]:
        for found in self.files():
            if found.problem:
                yield self.broken(found)
                continue
            try:
                yield from self.cut(found, max(items, 1), max(nbytes, 1))
            except Unavailable:
                raise
            except OmnicodecError:
                yield self.broken(found)

    def broken(self, found: Found) -> Slice:
        """Return the slice of a file that cannot be read, which will be one reject."""
        return Slice(self.number, found.name, 0, -1, 1, found.nbytes)

    @abstractmethod
    def cut(self, found: Found, items: int, nbytes: int) -> Iterator[Slice]:
        """Yield the slices of one file; what it raises makes the file, or its rest, one reject."""

    def read(self, piece: Slice) -> Iterator[Item | Reject]:
        if piece.stop >= 0:
            yield from self.items(piece)
            return
        yield self.reject(piece.path, "", InvalidInput(self.problem(piece)))

    def problem(self, piece: Slice) -> str:
        """Return why a file could not be cut: that is no part of a plan, so it is tried again."""
        path = self.location.path(piece.path)
        if self.location.storage.is_folder(path.rstrip("/")):
            return "a folder that cannot be read, or a link to one"
        try:
            for _ in self.cut(Found(piece.path, piece.nbytes), 1 << 62, 1 << 62):
                pass
        except Unavailable:
            raise
        except OmnicodecError as e:
            return str(e)
        return "could not be read when the run was planned"

    @abstractmethod
    def items(self, piece: Slice) -> Iterator[Item | Reject]:
        """Yield the items of a slice as `read` does."""

    def reject(self, name: str, place: str, error: OmnicodecError, key: str = "") -> Reject:
        """Return the reject of a file, or of one `place` in it."""
        position = self.location.shown(name) + place
        return Reject(position, key, type(error).__name__, str(error))
