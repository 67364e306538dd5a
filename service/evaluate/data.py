"""Media to evaluate on: a file, a folder, or a .tar shard, one item at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from omnicodec.codecs import InvalidInput, Media, OmnicodecError
from omnicodec.service.shards import read_shard


@dataclass
class Source:
    """Media of one type below `path`, in a fixed order.

    A single file is read whatever its name; in folders (all levels) and in shards only files
    with an ending of that type of media are. What is empty or cannot be read goes to
    `skipped`, with the reason, unless it is the one file that was asked for.
    """

    path: Path
    media_type: type[Media]
    report: Callable[[str], None]
    skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[str, Media]]:
        """Yield each item's name, relative to the source, and the item.

        Raises `InvalidInput` when the source is not there, or is one file that is no media.
        """
        if self.path.is_file() and self.path.suffix != ".tar":
            yield self.path.name, self.media_type.open(self.path)
            return
        for name, data in self._files():
            try:
                media = self.media_type.open(data)
                if media.nbytes == 0:
                    raise InvalidInput("empty")
            except OmnicodecError as e:
                self.skipped.append(f"{name}: {e}")
                self.report(f"left out {name}: {e}")
            else:
                yield name, media

    def _files(self) -> Iterator[tuple[str, bytes]]:
        if self.path.is_file():
            yield from self._members(self.path, "")
            return
        if not self.path.is_dir():
            raise InvalidInput(f"{str(self.path)!r} is not a file, a folder or a tar shard")
        for file in sorted(p for p in self.path.rglob("*") if p.is_file()):
            name = file.relative_to(self.path).as_posix()
            if file.suffix == ".tar":
                yield from self._members(file, f"{name}/")
            elif self._wanted(name):
                yield name, file.read_bytes()

    def _members(self, path: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
        for name, data in read_shard(path, self._wanted):
            yield prefix + name, data

    def _wanted(self, name: str) -> bool:
        return PurePosixPath(name).suffix.lower() in self.media_type.suffixes
