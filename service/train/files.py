"""Files of a data set: folders of files, .tar shards, and .zst files unpacked."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from omnicodec.codecs import InvalidInput, Unavailable


def read_files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (group, content) of every file below a folder, or in a shard, in a fixed order.

    The group is the name of the shard or folder. Raises `InvalidInput` for anything else.
    """
    if source.is_file():
        yield from _members(source)
        return
    if not source.is_dir():
        raise InvalidInput(f"{str(source)!r} is not a folder or a tar shard")
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        yield from _members(path)


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".zst":
        yield path.name.split(".")[0], _unpacked(path)
        return
    if path.suffix != ".tar":
        yield path.parent.name, path.read_bytes()
        return
    try:
        with tarfile.open(path) as shard:
            for member in shard:
                file = shard.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield path.stem, file.read()
    except tarfile.TarError as e:
        raise InvalidInput(f"{str(path)!r} is not a readable tar shard: {e}") from e


def _unpacked(path: Path) -> bytes:
    try:
        import zstandard
    except ImportError as e:
        raise Unavailable('reading .zst files needs: pip install "omnicodec[train]"') from e
    try:
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
            return reader.read()
    except zstandard.ZstdError as e:
        raise InvalidInput(f"{str(path)!r} is not a readable .zst file: {e}") from e
