"""What sinks share: arrays in a format's order, files that appear whole, rows over many files."""

from __future__ import annotations

import os
import struct
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from omnicodec.codecs import CorruptStream, InvalidInput, Tokens
from omnicodec.service.batch.sinks.base import Ids, Row, Rows

_OPEN_FILES: Final = 16

# What NumPy, json, struct, pyarrow and our own types raise for bytes that are not theirs.
_DAMAGE: Final = (
    OSError, ValueError, KeyError, TypeError, IndexError, EOFError, AttributeError, InvalidInput,
    NotImplementedError, struct.error,
)  # fmt: skip


def in_steps(ids: Ids) -> Ids:
    """Return ids `(rows, N)` as one sequence, all rows of a position together."""
    return ids[0] if len(ids) == 1 else ids.T.reshape(-1)


def in_rows(sequence: Ids, rows: int) -> Ids:
    """Return the ids `(rows, N)` that `in_steps` made a sequence of; `CorruptStream` if none."""
    if len(sequence) % rows:
        raise CorruptStream(f"{len(sequence)} ids do not divide among {rows} rows")
    return np.ascontiguousarray(sequence.astype(np.int32, copy=False).reshape(-1, rows).T)


def soft_part(facts: Mapping[str, Any], extent: Mapping[str, int], values: NDArray[Any]) -> Tokens:
    """Return real-valued tokens: `facts` has "codec", "fingerprint", "grid" and "width".

    `values` has the numbers of all positions, one position behind the other. Raises `ValueError`
    or `InvalidInput` where they do not fit.
    """
    soft = values.reshape(-1, facts["width"])
    ids = np.empty((0, len(soft)), np.int32)
    return Tokens(facts["codec"], facts["fingerprint"], ids, tuple(facts["grid"]), extent, soft)


@contextmanager
def replaced(target: Path, temporary: Path) -> Iterator[IO[bytes]]:
    """Open a file in `temporary` that becomes `target` when all is written and synced."""
    path = temporary / target.name
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    path.replace(target)


class Reader(Protocol):
    """One file of rows, opened."""

    def row(self, index: int) -> Row: ...

    def close(self) -> None: ...


R = TypeVar("R", bound=Reader)


class ShardedRows(Rows, Generic[R]):
    """Rows that lie in files one after another, of which a few are open at a time.

    May be pickled or forked: each process opens files of its own.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._ends = np.cumsum([0, *self._counts(self._paths)])[1:].astype(np.int64)
        self._readers: OrderedDict[int, R] = OrderedDict()
        self._process = os.getpid()

    def _counts(self, paths: Sequence[Path]) -> list[int]:
        """Return the number of rows of each file."""
        return [guarded(path, self._count) for path in paths]

    @abstractmethod
    def _count(self, path: Path) -> int:
        """Return the number of rows of a file, having read as little as possible."""

    @abstractmethod
    def _open(self, path: Path) -> R:
        """Open a file."""

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        shard = int(np.searchsorted(self._ends, index, side="right"))
        before = int(self._ends[shard - 1]) if shard else 0
        reader = self._reader(shard)
        return guarded(self._paths[shard], lambda _: reader.row(index - before))

    def _reader(self, shard: int) -> R:
        if self._process != os.getpid():
            # A file that was opened before a fork has one position for both processes.
            self._readers, self._process = OrderedDict(), os.getpid()
        if shard not in self._readers:
            self._readers[shard] = guarded(self._paths[shard], self._open)
            if len(self._readers) > _OPEN_FILES:
                self._readers.popitem(last=False)[1].close()
        self._readers.move_to_end(shard)
        return self._readers[shard]

    def close(self) -> None:
        while self._readers:
            self._readers.popitem()[1].close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": OrderedDict()}


T = TypeVar("T")


def guarded(path: Path, read: Callable[[Path], T]) -> T:
    """Return `read(path)`; what it raises for a file that is damaged or gone: `CorruptStream`."""
    try:
        return read(path)
    except CorruptStream:
        raise
    except _DAMAGE as e:
        lines = str(e).splitlines() or [type(e).__name__]
        raise CorruptStream(f"{path.name} is damaged: {lines[0]}") from e


def selected(data: Path, names: Sequence[str], suffix: str) -> list[Path]:
    """Return the paths of the files with this suffix, in the order of their shards."""
    return [data / name for name in sorted(names) if name.endswith(suffix)]
