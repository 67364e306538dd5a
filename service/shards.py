"""Tar shards of a data set, read member by member; nothing is ever unpacked to disk."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from omnicodec.codecs import InvalidInput


def read_shard(path: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a shard whose names are wanted, in its order.

    Raises `InvalidInput` when it is no readable tar.
    """
    try:
        with tarfile.open(path) as shard:
            for member in shard:
                chosen = member.isfile() and wanted(member.name)
                file = shard.extractfile(member) if chosen else None
                if file is not None:
                    yield member.name, file.read()
    except tarfile.TarError as e:
        raise InvalidInput(f"{str(path)!r} is not a readable tar shard: {e}") from e
